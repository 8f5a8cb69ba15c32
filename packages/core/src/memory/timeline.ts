/**
 * Live memory along a compiled program: a region takes its room when the first operation that uses it is issued and
 * gives it back behind the last operation of its last node, as the executor does. Regions of the step and parameters
 * stand beside.
 */
import type { Layout } from '../layout/layout.js';
import { whole, type GroupRouting } from '../routing/group-routing.js';
import { dtypeBytes } from '../schedule/moe-shape.js';
import type { CompiledProgram } from '../schedule/compile.js';
import type { RegionInstance } from '../schedule/region-lifetimes.js';
import type { ProgramNode, Region } from '../schedule/schedule.js';
import { rankPlace, type Size } from '../schedule/rows.js';
import { maxOf } from '../units/index.js';

/** What live regions are of. Parameters and their states are not among them. */
export const activityKinds = ['saved', 'gathered', 'dispatch', 'logits', 'working'] as const;
/**
 * saved: what a forward pass keeps for the backward; gathered: weights and gradients of the layers at work, whole where
 * ranks share them; dispatch: buffers in which rows travel to experts and back;
 * logits: all of the head; working: what an operation needs while a layer runs
 */
export type ActivityKind = (typeof activityKinds)[number];

export type Activity = Readonly<Record<ActivityKind, number>>;

const noActivity: Activity = { saved: 0, gathered: 0, dispatch: 0, logits: 0, working: 0 };

export const activityBytes = (activity: Activity): number =>
  activityKinds.reduce((sum, kind) => sum + activity[kind], 0);

function activityKind({ id, life, order }: Region): ActivityKind {
  if (life === 'pass') return 'gathered';
  if (id.startsWith('head.')) return 'logits';
  if (life === 'saved') return 'saved';
  return order === 'rows' ? 'working' : 'dispatch';
}

/** Rows of a region of the program. */
export type RowsOf = (size: Size, instance: RegionInstance) => number;

/**
 * Rows that are expected times an imbalance (the fullest rank's share of the mean), at most all that could come; where
 * the layout alone decides, the longest share.
 */
export const expectedRows =
  (imbalance = 1): ((size: Size) => number) =>
  (size) =>
    typeof size === 'number'
      ? size
      : size.rule.routed
        ? Math.min(size.max, Math.ceil(size.expected * imbalance))
        : size.max;

/** What a rank's expert group routed, by layer and micro-batch. */
export interface RankRouting {
  readonly rank: number;
  readonly of: (at: Pick<ProgramNode, 'layer' | 'microBatch'>) => GroupRouting;
}

/** Rows of a rank whose routing is known: of drops and of copies, which sums do not decide, too. */
export function routedRowsOf(layout: Layout, { rank, of }: RankRouting): RowsOf {
  const at = rankPlace(layout, rank);
  return (size, instance) => (typeof size === 'number' ? size : size.rule.count(at, whole, () => of(instance)));
}

/** Whether a region takes room while the program runs, and gives it back. */
export const isTransient = ({ life }: Region): boolean => life !== 'parameter' && life !== 'step';

export interface MemoryPeak {
  readonly bytes: number;
  readonly activity: Activity;
  /** Operation at which it is reached first. */
  readonly operation: number;
}

export interface MemoryTimeline {
  readonly peak: MemoryPeak;
  /** Bytes while each node runs: the most of it, and what is left behind it. */
  readonly nodes: readonly { readonly peak: number; readonly after: number }[];
}

/** Allocations of one region, to what the allocator rounds them. */
export type Rounding = (bytes: number) => number;

export interface TimelineOptions {
  readonly rowsOf: RowsOf;
  readonly round?: Rounding;
  /** Regions that count; all that take room while the program runs when left out. */
  readonly counts?: (region: Region) => boolean;
  /**
   * When regions that live in one node alone are given back: behind the node, as Monta's executor does, whose observers
   * look at them then; or behind the last operation that uses them, as reference counts do.
   */
  readonly freed?: 'node' | 'use';
  /** Told what lives while each operation runs. */
  readonly watch?: (bytes: number) => void;
}

/** Walks a program. */
export function memoryTimeline(program: CompiledProgram, options: TimelineOptions): MemoryTimeline {
  const { rowsOf, round = (bytes) => bytes, counts = () => true, freed = 'node', watch } = options;
  const opened: number[][] = program.operations.map(() => []);
  const closed: number[][] = program.operations.map(() => []);
  program.regions.forEach(({ region, first, last, ends }, number) => {
    if (!isTransient(region) || !counts(region)) return;
    opened[first]?.push(number);
    closed[freed === 'use' && region.life === 'layer' ? maxOf(ends) : last]?.push(number);
  });
  const sizes = program.regions.map((instance) => {
    const { rows, columns, dtype } = instance.region;
    return isTransient(instance.region) ? round(rowsOf(rows, instance) * columns * dtypeBytes[dtype]) : 0;
  });
  const live: Record<ActivityKind, number> = { ...noActivity };
  let bytes = 0;
  let peak: MemoryPeak = { bytes: 0, activity: noActivity, operation: 0 };
  const change = (numbers: readonly number[] = [], sign: 1 | -1): void => {
    for (const number of numbers) {
      const instance = program.regions[number];
      if (instance === undefined) continue;
      const size = sign * (sizes[number] ?? 0);
      live[activityKind(instance.region)] += size;
      bytes += size;
    }
  };
  const nodes = program.nodes.map(({ first, count }) => {
    let most = bytes;
    for (let operation = first; operation < first + count; operation++) {
      change(opened[operation], 1);
      most = Math.max(most, bytes);
      watch?.(bytes);
      if (bytes > peak.bytes) peak = { bytes, activity: { ...live }, operation };
      change(closed[operation], -1);
    }
    return { peak: most, after: bytes };
  });
  return { peak, nodes };
}
