/** The job that traces are written of, and what its ranks did. */
import type { ProfiledOp } from '#core/profiles/profile.js';

export type NameStyle = 'before 2.8' | 'to 2.18' | 'since 2.19';

export interface TraceJob {
  readonly ranks: number;
  readonly ranksPerNode: number;
  /** Ranks of an expert-parallel group. */
  readonly expertParallel: number;
  readonly layers: number;
  readonly seed: number;
  readonly names: NameStyle;
  /**
   * Where PyTorch writes what it knows of a collective: since 2.2 in the kernel itself, before in the call on the CPU.
   */
  readonly arguments: 'kernel' | 'call';
  /** Each rank numbers its groups in an order of its own. */
  readonly renamedGroups: boolean;
  /** Largest offset between two ranks' clocks, seconds. */
  readonly clockOffset: number;
  /** PyTorch counts collectives of a group. */
  readonly numbered: boolean;
  /** Collectives that the profiler of a rank missed at the beginning, at most. */
  readonly missed: number;
  /** DeepEP in place of NCCL for the exchange of tokens. */
  readonly deepEp: boolean;
}

export interface Group {
  readonly label: string;
  readonly members: readonly number[];
}

export const keyOf = ({ label, members }: Group): string => `${label} ${members.join(' ')}`;

export interface Operation {
  readonly op: ProfiledOp;
  /** As PyTorch calls it. */
  readonly name: string;
  readonly groups: readonly Group[];
  /** Elements that a rank of a group hands in, by place; and what it sends of it. */
  readonly elements: number;
  readonly dtype: 'BFloat16' | 'Float';
  readonly uneven: boolean;
  readonly beside: boolean;
}

export interface Piece {
  readonly name: string;
  readonly category: 'kernel' | 'gpu_memcpy';
  readonly stream: number;
  readonly startNs: number;
  readonly endNs: number;
  readonly call?: {
    readonly operation: Operation;
    readonly group: Group;
    readonly op: ProfiledOp;
    readonly splits: readonly number[];
    readonly elements: number;
    readonly sequence: number;
  };
}
