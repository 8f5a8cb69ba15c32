/** Weights of parts on a rank, and what stages hold of them, as rows of numbers: what a search works with. */
import type { Elements } from '../schedule/template-elements.js';
import { maxOf } from '../units/index.js';
import { kindsHeld, type PartElements, type StageHolding } from './stage-elements.js';

/** Bytes by the kinds of layers that a stage holds. */
export type BytesOfKinds = Readonly<Record<ReturnType<typeof kindsHeld>, number>>;

/** Dense elements and experts' of layers with and without experts, of nothing, and of the ends; then bytes of kinds. */
export const elementsAt = { moe: 0, mlp: 2, none: 4, first: 6, last: 8, both: 10 } as const;
const bytesAt = { moe: 12, mlp: 13, mixed: 14 } as const;
/** Behind them the elements of layers that the program does not compute whole, by layer. */
const layersAt = 15;

/** Of a rank; `bytes` are such as any stage holds once of its kinds. */
export function partRow(parts: PartElements, bytes: BytesOfKinds): Float64Array {
  const layers = 1 + maxOf([-1, ...parts.partial.keys()]);
  const row = new Float64Array(layersAt + 2 * layers);
  const write = (place: number, { dense, expert }: Elements): void => {
    row[place] = dense;
    row[place + 1] = expert;
  };
  for (const part of ['moe', 'mlp', 'first', 'last', 'both'] as const) write(elementsAt[part], parts[part]);
  for (const kinds of ['moe', 'mlp', 'mixed'] as const) row[bytesAt[kinds]] = bytes[kinds];
  for (const [layer, elements] of parts.partial) write(layersAt + 2 * layer, elements);
  return row;
}

/**
 * What stages hold, one stage after another, as places in a `partRow`: how many layers with experts and without, the
 * place of its end, that of the bytes of its kinds, and how many layers follow that are not computed whole, by place.
 */
export const holdingRow = (holdings: readonly StageHolding[]): Int32Array =>
  Int32Array.from(
    holdings.flatMap((holding) => {
      const { moe, mlp, first, last, partial } = holding;
      const end = first && last ? 'both' : first ? 'first' : last ? 'last' : 'none';
      const layers = partial.map((layer) => layersAt + 2 * layer);
      return [moe, mlp, elementsAt[end], bytesAt[kindsHeld(holding)], layers.length, ...layers];
    }),
  );
