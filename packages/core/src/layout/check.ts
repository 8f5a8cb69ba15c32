/** Whether a model can be split as a layout says. */
import type { MoeModel } from '../model/model.js';
import { InputError } from '../units/errors.js';
import type { Layout } from './layout.js';

/** Of a message's hint: more are left out. */
const mostDivisors = 16;

function divisorsOf(n: number): string {
  const found: number[] = [];
  for (let d = 1; d <= n && found.length <= mostDivisors; d++) if (n % d === 0) found.push(d);
  return found.length > mostDivisors ? `${found.slice(0, mostDivisors).join(', ')}, …` : found.join(', ');
}

/**
 * Throws `InputError` when the model's heads, experts or widths do not divide as the layout asks. Key-value heads may be
 * fewer than tp when they divide it: each is then replicated on tp / keyValueHeads ranks,
 * unless `replicateKeyValues` is false (for an executor that cannot).
 */
export function checkModelLayout(
  model: MoeModel,
  layout: Layout,
  { replicateKeyValues = true }: { readonly replicateKeyValues?: boolean } = {},
): void {
  const { tp, pp, ep, etp } = layout;
  const { attentionHeads: heads, keyValueHeads: keyValues, experts, expertFfn, name } = model;
  must(
    heads % tp === 0,
    'tp',
    `tp=${tp} does not divide the ${heads} attention heads of ${name}`,
    `a divisor of ${heads}`,
    `tp can be ${divisorsOf(heads)}`,
  );
  must(
    keyValues % tp === 0 || tp % keyValues === 0,
    'tp',
    `tp=${tp} neither divides the ${keyValues} key-value heads of ${name} nor is a multiple of them`,
    `a divisor or a multiple of ${keyValues}`,
  );
  must(
    replicateKeyValues || tp <= keyValues,
    'tp',
    `tp=${tp} exceeds the ${keyValues} key-value heads of ${name}, which cannot be replicated here`,
    `a divisor of ${keyValues}`,
    `tp can be ${divisorsOf(keyValues)}`,
  );
  must(
    etp <= tp,
    'etp',
    `etp=${etp} is above tp=${tp}, which is not supported`,
    'etp of at most tp',
    `leave etp out (it is then ${tp}) or raise ep instead`,
  );
  must(tp % etp === 0, 'etp', `etp=${etp} does not divide tp=${tp}`, `a divisor of tp`, `etp can be ${divisorsOf(tp)}`);
  if (model.moeLayers.includes(true)) {
    must(
      experts % ep === 0,
      'ep',
      `ep=${ep} does not divide the ${experts} experts of ${name}`,
      `a divisor of ${experts}`,
      `ep can be ${divisorsOf(experts)}`,
    );
    must(
      expertFfn % etp === 0,
      'etp',
      `etp=${etp} does not divide the experts' width ${expertFfn} of ${name}`,
      `a divisor of ${expertFfn}`,
    );
  }
  for (const [width, what] of [
    [model.sharedExpertFfn, "shared experts' width"],
    [model.moeLayers.includes(false) ? model.denseFfn : 0, "dense layers' width"],
  ] as const) {
    must(width % tp === 0, 'tp', `tp=${tp} does not divide the ${what} ${width} of ${name}`, `a divisor of ${width}`);
  }
  must(
    pp <= model.layers,
    'pp',
    `pp=${pp} stages for the ${model.layers} layers of ${name}`,
    `at most ${model.layers} stages, one layer each`,
  );
}

function must(holds: boolean, path: string, message: string, expected: string, hint?: string): void {
  if (!holds) throw new InputError(message, { path, expected, hint });
}
