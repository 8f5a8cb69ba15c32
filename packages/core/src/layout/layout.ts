/**
 * Parallel degrees: two mappings onto the same ranks with equal products, as in Megatron-Core.
 *   attention: tp (fastest), cp, dp, pp        experts: etp (fastest), ep, edp, pp
 * Rank order is global rank = tpIndex + tp*(cpIndex + cp*(dpIndex + dp*ppIndex)), and likewise for the experts.
 */
export interface Layout {
  readonly tp: number;
  /** Context-parallel degree. */
  readonly cp: number;
  readonly dp: number;
  readonly pp: number;
  readonly ep: number;
  readonly etp: number;
  /** Ranks that hold the same experts. */
  readonly edp: number;
  /** Megatron's sequence parallelism: outside attention and experts, every TP rank holds its slice of the tokens. */
  readonly sequenceParallel: boolean;
  /** Ranks a node holds: rank r is on node floor(r / ranksPerNode). Absent until the layout is placed (`placedOn`). */
  readonly ranksPerNode?: number;
}

/**
 * Named groups of ranks.
 *   tp, cp, dp, pp: along one axis of the attention mapping;   etp, ep, edp: along one axis of the expert mapping
 *   expert: all etp x ep ranks that hold one full set of experts (they exchange routing counts)
 *   data: the cp x dp ranks that hold the same weights, those of experts apart
 *   dense: all tp x dp x cp ranks of a stage;   world: every rank
 *   replica: the tp x cp ranks that hold the same tokens' work together
 *   node: ranks of one expert group that are on one node;
 *   rail: ranks of one expert group with the same place on their nodes
 */
export type Group = AxisGroup | 'node' | 'rail';

/** Groups that the degrees alone decide; `node` and `rail` need a placed layout. */
export type AxisGroup =
  'tp' | 'cp' | 'dp' | 'pp' | 'etp' | 'ep' | 'edp' | 'expert' | 'replica' | 'data' | 'dense' | 'world';
