/**
 * Orders of picks as a card has them: built there when a kernel of a layer first asks, and kept until the layer is
 * over. All that use one come after its first user, on whatever stream: rows that are summed were packed before, and a
 * backward pass follows its forward.
 */
import type { OfLayer, PickOrder, ReturnedPicks } from '../../../rows/pick-order.js';
import { elementBytes } from '../../view.js';
import type { Address } from '../bindings/index.js';
import { buildCudaPermutation, mostOrderedExperts, permutationScratch } from '../operations/rows.js';
import type { CudaKernelCall } from './call.js';

/** int32 arrays: the pick of each canonical row, and the row of each pick, -1 where dropped. */
interface CardOrder {
  readonly rowPick: Address;
  readonly pickRow: Address;
}

type Call = CudaKernelCall<never, unknown>;

const orders = new WeakMap<PickOrder, CardOrder>();
const returns = new WeakMap<ReturnedPicks, Address>();

const threads = 256;

/** Room for integers until a layer is over. */
export function keep(call: Call, of: OfLayer, count: number): Address {
  const { memory } = call.context;
  const address = memory.allocate(count * elementBytes.i32);
  of.whenOver(() => {
    memory.free(address);
  });
  return address;
}

export function orderOnCard(call: Call, order: PickOrder): CardOrder {
  const known = orders.get(order);
  if (known !== undefined) return known;
  const { length } = order.ids;
  const made = { rowPick: keep(call, order, length), pickRow: keep(call, order, length) };
  orders.set(order, made);
  order.whenOver(() => orders.delete(order));
  if (order.shape.experts > mostOrderedExperts) {
    call.copy(made.rowPick, order.rowPick);
    call.copy(made.pickRow, order.pickRow);
    return made;
  }
  const { experts } = order.shape;
  const shape = { ...order.shape, padding: 1 };
  const ids = order.ids.view?.byteOffset ?? call.upload(order.ids.read());
  const [counts, offsets] = [call.scratch(experts), call.scratch(experts + 1)];
  const scratch = call.scratch(permutationScratch(shape));
  const { runtime } = call.context.libraries;
  buildCudaPermutation({ on: call.on, runtime, shape, ids, cudaPermutation: { counts, offsets, scratch, ...made } });
  return made;
}

/** The row of each returned pick, -1 where dropped. */
export function returnedOnCard(call: Call, returned: ReturnedPicks): Address {
  const { order, range, places, canonical } = returned;
  const pickRow = orderOnCard(call, order).pickRow + range.first * elementBytes.i32;
  if (canonical) return pickRow;
  const known = returns.get(returned);
  if (known !== undefined) return known;
  const placed = keep(call, returned, range.length);
  returns.set(returned, placed);
  returned.whenOver(() => returns.delete(returned));
  const grid = { blocks: Math.ceil(range.length / threads), threads };
  const [moves, count, picks] = [call.upload(places), places.length / 3, range.length];
  call.on.launch('permute', 'place_picks', grid, { pickRow, moves, placed, count, picks });
  return placed;
}
