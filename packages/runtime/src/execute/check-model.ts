/** What the executor can train; everything else is refused before a rank starts. */
import { headsPerRank, InputError, type StepShape } from '@monta/core';
import { checkSupported } from '../transformer/index.js';

type Refusal = readonly [wrong: boolean, what: string, expected: string];

/** Throws `InputError` when the executor can't run training steps of this shape. */
export function checkExecutable(step: StepShape): void {
  const { model, layout } = step;
  checkSupported(model);
  const { query, keyValue } = headsPerRank(model, layout.tp);
  const refusals: Refusal[] = [
    [model.clipQkv !== undefined && model.qkNorm === 'none', 'clipped queries without a norm of them', 'a query norm'],
    [step.dtype !== 'f32', `computing in ${step.dtype}`, 'f32 on the CPU'],
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
