/** Which of Megatron's token dispatchers does what a strategy says. */
import { deviceCount } from '../../cluster/index.js';
import { halvesName, plainPair } from '../../schedule/index.js';
import { InputError } from '../../units/errors.js';
import { architectureOf } from '../architecture.js';
import type { ExportOptions, ExportPlan, ExportSetting, ExportVariable } from './exported.js';

export interface MegatronDispatch {
  readonly settings: readonly ExportSetting[];
  readonly environment: readonly ExportVariable[];
  readonly notes: readonly string[];
}

const alltoall = (reason: string): ExportSetting => ({ field: 'moe_token_dispatcher_type', value: 'alltoall', reason });

/** One copy a node: by a library, whose choice depends on the GPU. */
function flex({ cluster, layout }: ExportPlan): MegatronDispatch {
  const blackwell = architectureOf(cluster.device.name) === 'blackwell';
  const backend = blackwell ? 'hybridep' : 'deepep';
  const domain = Math.min(layout.ep * layout.etp, cluster.tiers[0]?.size ?? 1);
  return {
    settings: [
      { field: 'moe_token_dispatcher_type', value: 'flex', reason: 'one copy of a token for each node that needs it' },
      {
        field: 'moe_flex_dispatcher_backend',
        value: backend,
        reason: blackwell
          ? 'HybridEP is made for NVLink domains of Blackwell'
          : 'DeepEP: NVLink inside the node, RDMA between nodes',
      },
    ],
    environment: blackwell
      ? [
          {
            name: 'NUM_OF_HYBRID_EP_RANKS_PER_NVLINK_DOMAIN',
            value: String(domain),
            reason: 'ranks of an expert group in one NVLink domain',
          },
        ]
      : [],
    notes: [`${backend} is a library of its own: install the version that this Megatron names`],
  };
}

/** Throws `InputError` for a strategy that Megatron has not, unless the nearest is asked for. */
export function megatronDispatch(plan: ExportPlan, { nearest = false }: ExportOptions): MegatronDispatch {
  const { strategy, layout, model } = plan;
  if (model.experts === 0) return { settings: [], environment: [], notes: [] };
  const { forward, backward } = strategy.chunks;
  const name = halvesName(strategy);
  const chunked =
    forward > 1 || backward > 1
      ? [
          `chunks: Megatron does not cut a layer's exchange (the plan: ${forward} forward, ${backward} backward). ` +
            '--overlap-moe-expert-parallel-comm hides it behind another micro-batch; it needs interleaving when ' +
            'pipelined',
        ]
      : [];
  if (name === 'deduplicated') {
    const found = flex(plan);
    return { ...found, notes: [...found.notes, ...chunked] };
  }
  if (name === 'gathered')
    return {
      settings: [
        { field: 'moe_token_dispatcher_type', value: 'allgather', reason: 'all tokens of the group are gathered' },
      ],
      environment: [],
      notes: chunked,
    };
  if (name === 'scattered' || (layout.tp === 1 && plainPair(strategy))) {
    const way =
      layout.etp > 1
        ? 'each token once between nodes, gathered and reduce-scattered over the expert tensor ranks'
        : 'each token once to the rank of its expert';
    return { settings: [alltoall(way)], environment: [], notes: chunked };
  }
  if (!nearest)
    throw new InputError(`Megatron has no dispatcher like ${name}`, {
      path: 'strategy',
      expected: 'scattered, deduplicated or gathered; without tensor parallelism any plain halves',
      hint: '--nearest writes alltoall, which is scattered',
    });
  return {
    settings: [alltoall(`the nearest to ${name}`)],
    environment: [],
    notes: [
      `${name}: Megatron has no such dispatcher; alltoall is written, which is scattered: the plan's price is of ` +
        'another program',
      ...chunked,
    ],
  };
}

/** Nodes over which an expert group spreads. */
export const nodesOfExpertGroup = ({ cluster, layout }: ExportPlan): number =>
  Math.min(
    Math.ceil(deviceCount(cluster) / (cluster.tiers[0]?.size ?? 1)),
    Math.ceil((layout.ep * layout.etp) / (cluster.tiers[0]?.size ?? 1)),
  );
