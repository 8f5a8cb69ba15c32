/** Whether two descriptions are of one model, as far as weights and what is computed from them go. */
import { InputError } from '@monta/core/units';
import type { MoeModel } from '@monta/core';

/** What may differ: names, limits, how weights were initialised, and how strongly the auxiliary loss counts. */
const free = new Set(['name', 'maxPositions', 'initializerRange', 'auxLossCoefficient']);

/** Throws InputError, with `file` as the place of `found`, when it is not the model `wanted`. */
export function checkSameModel(found: MoeModel, wanted: MoeModel, file: string): void {
  for (const key of new Set([...Object.keys(found), ...Object.keys(wanted)]) as Set<keyof MoeModel>) {
    // The width of layers that there are none of.
    const unused = key === 'denseFfn' && !wanted.moeLayers.includes(false);
    if (free.has(key) || unused || JSON.stringify(found[key]) === JSON.stringify(wanted[key])) continue;
    throw new InputError(`is of another model: ${key} is ${JSON.stringify(found[key]) ?? 'absent'}`, {
      file,
      expected: `${key} ${JSON.stringify(wanted[key]) ?? 'absent'}`,
    });
  }
}
