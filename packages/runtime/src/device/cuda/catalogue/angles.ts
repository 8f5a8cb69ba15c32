/** Angles of rotary embeddings on the card, worked out once for each sequence. */
import type { RopeScaling } from '@monta/core';
import { ropeTable } from '../../../transformer/index.js';
import type { Address } from '../bindings/index.js';
import type { CudaContext } from '../context.js';

export interface Angles {
  readonly cosine: Address;
  readonly sine: Address;
}

const tables = new WeakMap<CudaContext, Map<string, Angles>>();

/** Of a sequence's positions, for `width` elements that turn. */
export function angles(
  context: CudaContext,
  of: { readonly sequence: number; readonly theta: number; readonly scaling?: RopeScaling | undefined },
  width: number,
): Angles {
  let known = tables.get(context);
  if (known === undefined) tables.set(context, (known = new Map<string, Angles>()));
  const { sequence, theta, scaling } = of;
  const key = JSON.stringify([sequence, width, theta, scaling]);
  let table = known.get(key);
  if (table === undefined) {
    const { cosine, sine } = ropeTable(sequence, width, theta, scaling);
    const upload = (values: Float32Array): Address => {
      const address = context.memory.allocate(values.byteLength);
      context.memory.write(address, new Uint8Array(values.buffer, values.byteOffset, values.byteLength));
      return address;
    };
    table = { cosine: upload(cosine), sine: upload(sine) };
    known.set(key, table);
  }
  return table;
}
