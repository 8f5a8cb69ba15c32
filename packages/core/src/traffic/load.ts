/** How many bytes an operation moves on given ranks, once routing is bound. */
import type { CollectiveLoad, EvenLoad } from './flows.js';
import { chunkRows, type Part } from '../routing/group-routing.js';
import { dtypeBytes } from '../schedule/moe-shape.js';
import {
  useOf,
  type Binding,
  type Body,
  type Operation,
  type Region,
  type Size,
  type Template,
  type Use,
} from '../schedule/schedule.js';
import { InputError, maxOf } from '../units/index.js';

export type CollectiveBody = Extract<Body, { kind: 'collective' }>;

/** Rows of chunk `chunk` of `of` of a size on a rank. */
export function rowsOf({
  size,
  binding,
  rank,
  node,
  part,
}: {
  readonly size: Size;
  readonly binding: Binding;
  readonly rank: number;
  readonly node: number;
  readonly part: Part;
}): number {
  return typeof size === 'number' ? chunkRows(size, part.chunk, part.of) : binding.rows(size.rule, rank, node, part);
}

interface LoadRequest {
  readonly template: Template;
  readonly operation: Operation;
  readonly body: CollectiveBody;
  readonly members: readonly number[];
  readonly node: number;
  readonly binding: Binding;
}

/** The region that a collective moves, and its use. Throws `InputError` where there is none. */
function movedRegion({ template, operation, body }: LoadRequest): { use: Use; region: Region; rowBytes: number } {
  const use = useOf(operation, body.name === 'all_gather' ? 'to' : 'from') ?? useOf(operation, 'buffer');
  const region = use && template.regions.find((candidate) => candidate.id === use.region);
  if (!use || !region) {
    throw new InputError(`${template.name}/${operation.id} (${body.name}) names no region to move`, {
      expected: 'a use of a region of the template in the role from and one in the role to, or one in the role buffer',
    });
  }
  return { use, region, rowBytes: region.columns * dtypeBytes[region.dtype] };
}

/**
 * Bytes of a collective over `members` (global ranks, in group order; for send and receive: sender, receiver), from the
 * region that it reads, or for all_gather writes. Throws `InputError` when counts do not fit the group.
 */
export function collectiveLoad(request: LoadRequest): CollectiveLoad {
  const { template, operation, body, members, node, binding } = request;
  if (body.name === 'barrier') return { kind: 'nothing' };
  const n = members.length;
  const { use, region, rowBytes } = movedRegion(request);
  if (body.counts)
    return countedLoad({ body, name: `${template.name}/${operation.id}`, use, rowBytes, members, node, binding });
  const rows = members.map((rank) => rowsOf({ size: region.rows, binding, rank, node, part: use }));
  const share = (total: number, index: number): number =>
    rowBytes * (body.split === 'tokens' ? chunkRows(total, index, n) : total / n);
  switch (body.name) {
    case 'all_to_all': {
      const bytes = new Float64Array(n * n);
      rows.forEach((total, i) => {
        for (let j = 0; j < n; j++) bytes[i * n + j] = share(total, j);
      });
      return { kind: 'pairs', bytes };
    }
    case 'send':
    case 'receive':
      return { kind: 'pairs', bytes: Float64Array.of(0, (rows[0] ?? 0) * rowBytes, 0, 0) };
    case 'broadcast':
      return { kind: 'blocks', bytes: new Float64Array(n).fill((rows[0] ?? 0) * rowBytes) };
    case 'all_gather':
    case 'reduce_scatter':
    case 'all_reduce': {
      // all members hold equally many rows; where a binding says otherwise the most decide
      const total = maxOf(rows);
      return { kind: 'blocks', bytes: Float64Array.from({ length: n }, (_, i) => share(total, i)) };
    }
  }
}

/**
 * The load of a collective where it is known to be even from its first member alone: sizes that are fixed, or ranks
 * that the binding calls alike. Undefined where it may not be.
 */
export function evenLoad(request: LoadRequest): EvenLoad | undefined {
  const { body, members, node, binding } = request;
  if (body.name === 'barrier') return undefined;
  const { use, region, rowBytes } = movedRegion(request);
  const alike = binding.alike === 'ranks';
  const [rank = 0] = members;
  if (body.counts) return alike ? evenCounts(request, use, rowBytes) : undefined;
  if (typeof region.rows !== 'number' && !alike) return undefined;
  const rows = rowsOf({ size: region.rows, binding, rank, node, part: use });
  if (body.name === 'send' || body.name === 'receive') return { kind: 'even', of: 'message', bytes: rows * rowBytes };
  if (body.name === 'broadcast') return { kind: 'even', of: 'blocks', bytes: rows * rowBytes };
  if (body.split === 'tokens' && rows % members.length !== 0) return undefined;
  const of = body.name === 'all_to_all' ? 'pairs' : 'blocks';
  return { kind: 'even', of, bytes: (rowBytes * rows) / members.length };
}

function evenCounts({ body, members, node, binding }: LoadRequest, use: Use, rowBytes: number): EvenLoad | undefined {
  if (body.kind !== 'collective' || body.counts === undefined) return undefined;
  const { send, receive } = binding.counts(body.counts, members[0] ?? 0, node, use);
  const even = (rows: Int32Array): number | undefined => (rows.every((one) => one === rows[0]) ? rows[0] : undefined);
  if (body.name === 'all_to_all') {
    const each = send.length === members.length ? even(send) : undefined;
    return each === undefined ? undefined : { kind: 'even', of: 'pairs', bytes: each * rowBytes };
  }
  if (body.name !== 'all_gather' && body.name !== 'reduce_scatter') return undefined;
  const each = even(body.name === 'all_gather' ? receive : send);
  return each === undefined ? undefined : { kind: 'even', of: 'blocks', bytes: each * rowBytes };
}

function countedLoad({
  body,
  name,
  use,
  rowBytes,
  members,
  node,
  binding,
}: {
  readonly body: CollectiveBody;
  readonly name: string;
  readonly use: Use;
  readonly rowBytes: number;
  readonly members: readonly number[];
  readonly node: number;
  readonly binding: Binding;
}): CollectiveLoad {
  const n = members.length;
  const family = body.counts;
  if (!family) return { kind: 'nothing' };
  const of = (rank: number): { send: Int32Array; receive: Int32Array } => {
    const { send, receive } = binding.counts(family, rank, node, use);
    return { send, receive };
  };
  if (body.name === 'all_to_all') {
    const bytes = new Float64Array(n * n);
    members.forEach((rank, i) => {
      const { send } = of(rank);
      if (send.length !== n) {
        throw new InputError(`counts of ${name} on rank ${rank} (${family.name}) are for ${send.length} members`, {
          expected: `${n}, the size of its group`,
        });
      }
      for (let j = 0; j < n; j++) bytes[i * n + j] = (send[j] ?? 0) * rowBytes;
    });
    return { kind: 'pairs', bytes };
  }
  if (body.name === 'all_gather') {
    return { kind: 'blocks', bytes: Float64Array.from(members, (rank) => (of(rank).send[0] ?? 0) * rowBytes) };
  }
  if (body.name === 'reduce_scatter') {
    return { kind: 'blocks', bytes: Float64Array.from(members, (rank) => (of(rank).receive[0] ?? 0) * rowBytes) };
  }
  throw new InputError(`${name}: ${body.name} cannot have counts`, {
    expected: 'counts on all_to_all, all_gather or reduce_scatter',
  });
}
