/**
 * What of an MoE layer runs beside what, each kind on its own: with a kind switched off, its operations wait for what
 * they would have run beside. Results do not depend on it, for the operations and the order of their sums stay.
 */
import type { Lane, Operation, Template } from './schedule.js';

/** Kinds of overlap within a layer. */
export const overlapKinds = ['chunks', 'experts', 'shared', 'weightGradients'] as const;

export type OverlapKind = (typeof overlapKinds)[number];

/**
 * chunks: the stages of a chunk's dispatch or combine beside other stages of its neighbours, as its all_gather beside
 *   their all_to_all (MoNTA);
 * experts: a chunk's expert GEMMs beside the dispatch and the combine of others;
 * shared: the experts that every token visits beside dispatch and combine;
 * weightGradients: the experts' weight gradients beside the way back of their inputs' gradients.
 * All are on where nothing is said.
 */
export type Overlap = Readonly<Partial<Record<OverlapKind, boolean>>>;

/** Whether a kind is on. */
export const overlaps = (overlap: Overlap | undefined, kind: OverlapKind): boolean => overlap?.[kind] !== false;

const computes: readonly Lane[] = ['compute', 'shared'];

/** Place of the last operation that meets a condition, -1 for none. */
const lastPlace = (operations: readonly Operation[], meets: (operation: Operation) => boolean): number =>
  operations.findLastIndex(meets);

/** Operations behind a place that are the first of their lane and group there: all of their queue waits with them. */
function firstsBehind(operations: readonly Operation[], place: number): Set<Operation> {
  const seen = new Set<string>();
  return new Set(
    operations.slice(place + 1).filter(({ lane, body }) => {
      const queue = body.kind === 'collective' ? `${lane} ${body.group}` : lane;
      return !seen.has(queue) && seen.add(queue);
    }),
  );
}

type Wait = (operation: Operation, place: number) => readonly string[];

const isExpert = ({ task }: Operation): boolean => task === 'experts';

/** What is behind the last of some operations waits for it. */
function behind(operations: readonly Operation[], meets: (operation: Operation) => boolean): Wait {
  const place = lastPlace(operations, meets);
  const last = operations[place];
  if (last === undefined) return () => [];
  const firsts = firstsBehind(operations, place);
  return (operation) => (firsts.has(operation) ? [last.id] : []);
}

/** Every chunk waits for all of the chunk before it, on its way out or back. */
function chunkAfterChunk(operations: readonly Operation[]): Wait {
  const experts = operations.findIndex(isExpert);
  const moves = ({ lane, of }: Operation): boolean => of > 1 && !computes.includes(lane);
  const ways = experts < 0 ? [operations] : [operations.slice(0, experts), operations.slice(experts)];
  const before = new Map<Operation, string>();
  for (const way of ways) {
    let [chunk, last, previous] = [-1, '', ''];
    for (const operation of way.filter(moves)) {
      if (operation.chunk !== chunk) [chunk, previous] = [operation.chunk, last];
      if (previous !== '') before.set(operation, previous);
      last = operation.id;
    }
  }
  return (operation) => {
    const other = before.get(operation);
    return other === undefined ? [] : [other];
  };
}

/** Experts wait for the last chunk on its way out, and the first one on its way back for the last experts. */
function apartFromExperts(operations: readonly Operation[]): Wait {
  const first = operations.findIndex(
    ({ lane, chunk, task }) => lane === 'compute' && chunk === 0 && (task === 'weigh' || task === 'experts'),
  );
  const arrived = operations.slice(0, Math.max(0, first)).filter(({ lane, of }) => of > 1 && !computes.includes(lane));
  const returns = behind(operations, isExpert);
  return (operation, place) => (place === first ? arrived.slice(-1).map(({ id }) => id) : returns(operation, place));
}

/** The weight gradients wait for the last row on its way back. */
function weightsLast(operations: readonly Operation[]): Wait {
  const experts = lastPlace(operations, isExpert);
  const place = operations.findIndex(({ id }) => id === 'experts.weights');
  const back = operations.slice(experts + 1, place).filter(({ lane }) => !computes.includes(lane));
  const last = new Map(
    back.map(({ lane, body, id }) => [body.kind === 'collective' ? `${lane} ${body.group}` : lane, id]),
  );
  return (_, at) => (at === place ? [...last.values()] : []);
}

const waits: Readonly<Record<OverlapKind, (operations: readonly Operation[]) => Wait>> = {
  chunks: chunkAfterChunk,
  experts: apartFromExperts,
  shared: (operations) => behind(operations, ({ lane }) => lane === 'shared'),
  weightGradients: weightsLast,
};

/** The template with what is switched off one after another. */
export function withOverlap(template: Template, overlap: Overlap | undefined): Template {
  const off = overlapKinds.filter((kind) => !overlaps(overlap, kind));
  if (off.length === 0) return template;
  const rules = off.map((kind) => waits[kind](template.operations));
  const operations = template.operations.map((operation, place): Operation => {
    const after = new Set([...operation.after, ...rules.flatMap((rule) => rule(operation, place))]);
    after.delete(operation.id);
    return { ...operation, after: [...after] };
  });
  return { ...template, operations };
}
