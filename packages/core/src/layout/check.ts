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
 * Throws `InputError` when the model's heads, experts or widths do not divide as the layout asks. Key-value heads may
 * be fewer than tp when they divide it: each is then replicated on tp / keyValueHeads ranks, unless
 * `replicateKeyValues` is false (for an executor that cannot).
 */
export function checkModelLayout(
  model: MoeModel,
  layout: Layout,
  { replicateKeyValues = true }: { readonly replicateKeyValues?: boolean } = {},
): void {
  checkHeads(model, layout, replicateKeyValues);
  checkExperts(model, layout);
  const { tp, pp } = layout;
  for (const [width, what] of [
    [model.sharedExpertFfn, "shared experts' width"],
    [model.moeLayers.includes(false) ? model.denseFfn : 0, "dense layers' width"],
  ] as const) {
    must({
      holds: width % tp === 0,
      path: 'tp',
      message: `tp=${tp} does not divide the ${what} ${width} of ${model.name}`,
      expected: `a divisor of ${width}`,
    });
  }
  must({
    holds: pp <= model.layers,
    path: 'pp',
    message: `pp=${pp} stages for the ${model.layers} layers of ${model.name}`,
    expected: `at most ${model.layers} stages, one layer each`,
  });
}

/** Into how many equal pieces ranks cut a sequence. */
function piecesOf({ tp, cp, sequenceParallel }: Pick<Layout, 'tp' | 'cp' | 'sequenceParallel'>): number {
  // A rank holds two pieces of a sequence, from both ends, so that causal attention is even (Megatron-LM).
  return (cp === 1 ? 1 : 2 * cp) * (sequenceParallel ? tp : 1);
}

/** Why a sequence of so many tokens is not cut into equal pieces, and what would be, or undefined. */
export function unevenSequence(
  sequence: number,
  layout: Pick<Layout, 'tp' | 'cp' | 'sequenceParallel'>,
): { readonly message: string; readonly expected: string; readonly hint: string } | undefined {
  const pieces = piecesOf(layout);
  if (sequence % pieces === 0) return undefined;
  const { tp, cp, sequenceParallel } = layout;
  const cut = [...(sequenceParallel ? [`tp=${tp}`] : []), ...(cp > 1 ? [`cp=${cp}`] : [])].join(', ');
  const above = Math.ceil(sequence / pieces) * pieces;
  const near = [above - pieces, above].filter((tokens) => tokens > 0);
  return {
    message: `${cut}${sequenceParallel ? ' with sp' : ''} cannot cut ${sequence} tokens into equal pieces`,
    expected: `a sequence of a multiple of ${pieces}`,
    hint: `${near.join(' or ')} tokens can be cut so`,
  };
}

/** Throws `InputError` where cp, or tp with sequence parallelism, does not cut a sequence into equal pieces. */
export function checkSequence(sequence: number, layout: Layout): void {
  const uneven = unevenSequence(sequence, layout);
  if (uneven === undefined) return;
  const { message, ...details } = uneven;
  throw new InputError(message, { path: 'sequence', ...details });
}

/** Throws `InputError` for pipelines and context parallelism, which are planned and priced, and not run here. */
export function checkRunLayout({ pp, cp }: Layout): void {
  must({
    holds: pp === 1,
    path: 'pp',
    message: `pp=${pp}: stages of a pipeline are planned here, not run`,
    expected: 'pp=1',
    hint: 'leave pp out; more tp, ep or dp use the same ranks',
  });
  must({
    holds: cp === 1,
    path: 'cp',
    message: `cp=${cp}: context parallelism is planned here, not run`,
    expected: 'cp=1',
    hint: 'leave cp out; tp with sp splits what a sequence keeps',
  });
}

function checkHeads(model: MoeModel, { tp }: Layout, replicateKeyValues: boolean): void {
  const { attentionHeads: heads, keyValueHeads: keyValues, name } = model;
  must({
    holds: heads % tp === 0,
    path: 'tp',
    message: `tp=${tp} does not divide the ${heads} attention heads of ${name}`,
    expected: `a divisor of ${heads}`,
    hint: `tp can be ${divisorsOf(heads)}`,
  });
  must({
    holds: keyValues % tp === 0 || tp % keyValues === 0,
    path: 'tp',
    message: `tp=${tp} neither divides the ${keyValues} key-value heads of ${name} nor is a multiple of them`,
    expected: `a divisor or a multiple of ${keyValues}`,
  });
  must({
    holds: replicateKeyValues || tp <= keyValues,
    path: 'tp',
    message: `tp=${tp} exceeds the ${keyValues} key-value heads of ${name}, which cannot be replicated here`,
    expected: `a divisor of ${keyValues}`,
    hint: `tp can be ${divisorsOf(keyValues)}`,
  });
}

function checkExperts(model: MoeModel, { tp, ep, etp }: Layout): void {
  const { experts, expertFfn, name } = model;
  must({
    holds: etp <= tp,
    path: 'etp',
    message: `etp=${etp} is above tp=${tp}, which is not supported`,
    expected: 'etp of at most tp',
    hint: `leave etp out (it is then ${tp}) or raise ep instead`,
  });
  must({
    holds: tp % etp === 0,
    path: 'etp',
    message: `etp=${etp} does not divide tp=${tp}`,
    expected: `a divisor of tp`,
    hint: `etp can be ${divisorsOf(tp)}`,
  });
  must({
    holds: ep === 1 || experts > 0,
    path: 'ep',
    message: `ep=${ep}: ${name} has no experts`,
    expected: 'ep=1',
    hint: 'leave ep out',
  });
  if (!model.moeLayers.includes(true)) return;
  must({
    holds: experts % ep === 0,
    path: 'ep',
    message: `ep=${ep} does not divide the ${experts} experts of ${name}`,
    expected: `a divisor of ${experts}`,
    hint: `ep can be ${divisorsOf(experts)}`,
  });
  must({
    holds: expertFfn % etp === 0,
    path: 'etp',
    message: `etp=${etp} does not divide the experts' width ${expertFfn} of ${name}`,
    expected: `a divisor of ${expertFfn}`,
  });
}

function must({
  holds,
  path,
  message,
  expected,
  hint,
}: {
  readonly holds: boolean;
  readonly path: string;
  readonly message: string;
  readonly expected: string;
  readonly hint?: string;
}): void {
  if (!holds) throw new InputError(message, { path, expected, hint });
}
