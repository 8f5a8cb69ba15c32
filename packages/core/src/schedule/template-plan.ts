/** What is worked out of a template once, whatever nodes it has in a program: queues, and what waits for what. */
import type { Group } from '../layout/layout.js';
import { InputError } from '../units/errors.js';
import { memoized } from '../units/memoized.js';
import { RegionUsers } from './region-users.js';
import type { Lane, Operation, Region, Template, Use } from './schedule.js';

/** Where an operation queues. */
export interface QueueKind {
  /** `compute`, or for collectives lane and group, as `inter ep`. Only a key. */
  readonly id: string;
  readonly lane: Lane;
  /** Of a queue of collectives. */
  readonly group?: Group;
}

/**
 * Queue of an operation. Sends and receives of either direction are queues of their own: one that waits for its peer
 * must not hold up what the peer waits for.
 */
function queueKind({ lane, task, body }: Operation): QueueKind {
  if (body.kind !== 'collective') return { id: lane, lane };
  const { name, group } = body;
  const paired = name === 'send' || name === 'receive';
  return { id: paired ? `${lane} ${group} ${task}` : `${lane} ${group}`, lane, group };
}

/** What all nodes of a template have in common. */
export interface TemplatePlan {
  readonly template: Template;
  readonly names: readonly string[];
  /** Ids of queues, by operation. */
  readonly queues: readonly string[];
  /** What these queues are. */
  readonly kinds: readonly QueueKind[];
  /** Places in the template that each operation waits for, other queues only. */
  readonly after: readonly (readonly number[])[];
  /** Operations with nothing before them, and with nothing behind them, in the template. */
  readonly roots: ReadonlySet<number>;
  readonly sinks: readonly number[];
  readonly regions: readonly Region[];
  /** By operation, places in `regions` of what it uses. */
  readonly uses: readonly (readonly number[])[];
  /** Of these, those of regions that outlive a node. */
  readonly outliving: readonly (readonly OutlivingUse[])[];
}

export interface OutlivingUse {
  readonly place: number;
  readonly region: Region;
  readonly use: Use;
}

/**
 * Throws `InputError` for ids that repeat, for regions that are not declared, and for operations that wait for
 * themselves or for later ones.
 */
export const planTemplate = memoized((template: Template): TemplatePlan => {
  const { operations } = template;
  const place = new Map<string, number>();
  const found = operations.map(queueKind);
  const queues = found.map(({ id }) => id);
  const followed = new Uint8Array(operations.length);
  const roots = new Set<number>();
  const lastOf = new Map<string, number>();
  const users = new RegionUsers();
  const mixed = mixedLanes(operations, queues);
  const after = operations.map((operation, index) => {
    if (place.has(operation.id))
      throw new InputError(`${template.name} has two operations "${operation.id}"`, { expected: 'ids that differ' });
    place.set(operation.id, index);
    const before = predecessors({ template, index, place, queues, users, mixed });
    const previous = lastOf.get(queues[index] ?? '');
    if (before.size === 0 && previous === undefined) roots.add(index);
    for (const other of before) followed[other] = 1;
    if (previous !== undefined) followed[previous] = 1;
    lastOf.set(queues[index] ?? '', index);
    return [...before].filter((other) => queues[other] !== queues[index]);
  });
  const sinks = operations.map((_, index) => index).filter((index) => followed[index] === 0);
  const names = operations.map(({ id }) => `${template.name}/${id}`);
  const regions = [...new Map(template.regions.map((region) => [region.id, region])).values()];
  const uses = placesOfUses(template, regions);
  const outliving = operations.map((operation, index) =>
    operation.uses.flatMap((use, which): OutlivingUse[] => {
      const place = uses[index]?.[which] ?? -1;
      const region = regions[place];
      return region === undefined || region.life === 'layer' ? [] : [{ place, region, use }];
    }),
  );
  const kinds = [...new Map(found.map((kind) => [kind.id, kind])).values()];
  return { template, names, queues, kinds, after, roots, sinks, regions, uses, outliving };
});

function placesOfUses({ name, operations }: Template, regions: readonly Region[]): number[][] {
  const places = new Map(regions.map(({ id }, index) => [id, index]));
  return operations.map(({ id, uses }) =>
    uses.map(({ region }) => {
      const known = places.get(region);
      if (known !== undefined) return known;
      throw new InputError(`${name}/${id} uses the region "${region}"`, {
        expected: `one of its template's: ${[...places.keys()].join(', ')}`,
      });
    }),
  );
}

/** Lanes whose operations are on several queues. */
function mixedLanes(operations: readonly Operation[], queues: readonly string[]): Set<Lane> {
  const queueOf = new Map<Lane, string | undefined>();
  const mixed = new Set<Lane>();
  operations.forEach(({ lane }, index) => {
    if (!queueOf.has(lane)) queueOf.set(lane, queues[index]);
    else if (queueOf.get(lane) !== queues[index]) mixed.add(lane);
  });
  return mixed;
}

/** Places of the operations that the one at `index` waits for, within its template; notes its uses in `users`. */
function predecessors({
  template: { name, operations },
  index,
  place,
  queues,
  users,
  mixed,
}: {
  readonly template: Template;
  readonly index: number;
  readonly place: ReadonlyMap<string, number>;
  readonly queues: readonly string[];
  readonly users: RegionUsers;
  readonly mixed: ReadonlySet<Lane>;
}): Set<number> {
  const before = new Set<number>();
  const operation = operations[index];
  if (!operation) return before;
  for (const id of operation.after) {
    const other = place.get(id);
    if (other === undefined || other === index)
      throw new InputError(`${name}/${operation.id} waits for "${id}"`, {
        expected: 'the id of an operation before it in the same template',
      });
    before.add(other);
  }
  // Builders order operations of different lanes; those of one lane may still be on different queues.
  if (mixed.has(operation.lane)) {
    const besides: number[] = [];
    for (const use of operation.uses) users.conflicting(use, besides);
    for (const other of besides.sort((a, b) => a - b))
      if (operations[other]?.lane === operation.lane && queues[other] !== queues[index]) before.add(other);
    for (const use of operation.uses) users.add(index, use);
  }
  return before;
}
