/** What the executor can train; everything else is refused before a rank starts. */
import { InputError } from '@monta/core/units';
import { headsPerRank } from '@monta/core/schedule';
import type { StepShape } from '@monta/core';
import { checkSupported } from '../transformer/index.js';

type Refusal = readonly [wrong: boolean, what: string, expected: string];

/** What each kind of device computes in; others: f32. */
const computeTypes: Readonly<Record<string, readonly StepShape['dtype'][]>> = { cuda: ['f32', 'bf16'] };

/** Throws `InputError` when the executor can't run training steps of this shape on a kind of device. */
export function checkExecutable(step: StepShape, kind: string): void {
  const { model, layout } = step;
  checkSupported(model);
  const { query, keyValue } = headsPerRank(model, layout.tp);
  const types = computeTypes[kind] ?? ['f32'];
  const refusals: Refusal[] = [
    [model.clipQkv !== undefined && model.qkNorm === 'none', 'clipped queries without a norm of them', 'a query norm'],
    [
      model.ropeType === 'dynamic' && step.sequence > (model.maxPositions ?? Infinity),
      `${step.sequence} positions of dynamic rescaling`,
      `at most ${model.maxPositions}, up to which nothing is rescaled`,
    ],
    [!types.includes(step.dtype), `computing in ${step.dtype}`, `${types.join(' or ')} on ${kind}`],
    [!Number.isInteger(query), `${model.attentionHeads} heads over tp ${layout.tp}`, 'a tp that divides the heads'],
    [
      !Number.isInteger(keyValue) || (model.keyValueHeads < layout.tp && layout.tp % model.keyValueHeads !== 0),
      `${model.keyValueHeads} key/value heads over tp ${layout.tp}`,
      'one of them dividing the other',
    ],
    [
      model.experts % layout.ep !== 0,
      `${model.experts} experts over ep ${layout.ep}`,
      'an ep that divides the experts',
    ],
    [
      model.expertFfn % layout.etp !== 0,
      `expert width ${model.expertFfn} over etp ${layout.etp}`,
      'an etp that divides the width',
    ],
    [
      model.denseFfn % layout.tp !== 0 && model.moeLayers.includes(false),
      `feed-forward width ${model.denseFfn} over tp ${layout.tp}`,
      'a tp that divides the width',
    ],
  ];
  for (const [wrong, what, expected] of refusals)
    if (wrong) throw new InputError(`the executor can't train this: ${what}`, { path: 'model', expected });
}
