/**
 * What a trainable tensor is: its name, its shape, how a layout shards it, and over which ranks its gradient is summed.
 */

/**
 * Where a gradient is summed.
 *   partial: TP ranks hold full copies and each has the contribution of its own tokens or heads: sum over tp and dp
 *     (group `dense`)
 *   dense:   TP ranks hold shards, or copies with equal gradients: sum over `dp`
 *   expert:  sum over `edp`; the all_to_all already brought the tokens of the other replicas
 *   fixed:   every rank holds all of it, and it has no gradient. Where experts are balanced by their selection bias,
 *     the picks of the own tokens are counted in its place: sum over `dense`
 */
export type Bucket = 'partial' | 'dense' | 'expert' | 'fixed';

export const bucketGroups = { partial: 'dense', dense: 'dp', expert: 'edp', fixed: 'dense' } as const;

/** Buckets in the order in which they lie in memory. */
export const buckets: readonly Bucket[] = ['partial', 'dense', 'expert', 'fixed'];

/** Whether a parameter has a gradient, and an optimizer steps it. */
export const isTrained = ({ bucket }: Pick<Parameter, 'bucket'>): boolean => bucket !== 'fixed';

/**
 * Names by which templates know the parameters of a layer. The gate and up matrices of a layer's local experts lie
 * together (gate rows, then up rows, expert after expert), then the down matrices.
 */
export type Slot =
  | 'embedding'
  | 'head'
  | 'final.norm'
  | 'attention.norm'
  | `attention.${'query' | 'key' | 'value' | 'output'}${'' | 'Bias'}`
  | `attention.${'query' | 'key'}Norm`
  | 'feedForward.norm'
  | 'attention.sinks'
  | 'router'
  | 'routerBias'
  | 'selectionBias'
  | `latent.${'queryDown' | 'keyValueDown'}${'' | 'Bias'}`
  | `latent.${'query' | 'keyValue'}${'Norm' | 'Up'}`
  | `experts.${'gateUp' | 'down'}${'' | 'Bias'}`
  | 'shared.tokenGate'
  | `${'mlp' | 'shared'}.${'gate' | 'up' | 'down'}`;

const expertSlots: ReadonlySet<Slot> = new Set([
  'experts.gateUp',
  'experts.gateUpBias',
  'experts.down',
  'experts.downBias',
]);

/** Whether only the owners of experts hold it: the bucket `expert`. */
export const isExpertSlot = (slot: Slot): boolean => expertSlots.has(slot);

export interface Parameter {
  /** As in the checkpoint: `model.layers.0.self_attn.q_proj.weight`. */
  readonly name: string;
  readonly shape: readonly number[];
  /** Sharded axis and the group it is sharded over; absent: every rank that has it holds all of it. */
  readonly shard?: { readonly axis: number; readonly over: 'tp' | 'etp' };
  /** Layer that it belongs to; -1 for those of no layer. */
  readonly layer: number;
  /**
   * What it is to its layer's kernels. Experts' matrices share a slot, in the order in which the expert kernels read
   * them.
   */
  readonly slot: Slot;
  /** Number of the expert it belongs to. */
  readonly expert?: number;
  readonly bucket: Bucket;
}
