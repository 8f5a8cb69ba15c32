/** Megatron's flags as one table, and those that older versions had. */
import { FlagTable, parseFlagRows } from '../flag.js';
import { dataFlagRows } from './flag-rows-data.js';
import { modelFlagRows } from './flag-rows-model.js';
import { serviceFlagRows } from './flag-rows-service.js';
import { trainingFlagRows } from './flag-rows-training.js';

/** The version that the table was read off. */
export const megatronVersion = '0.20.0';

export const megatronFlags = new FlagTable(
  [modelFlagRows, trainingFlagRows, dataFlagRows, serviceFlagRows].flatMap((rows) => parseFlagRows(rows)),
);

/** A flag of another name: what took its place, and whether the parser still takes the old one. */
export interface RenamedFlag {
  readonly now: string;
  readonly accepted: boolean;
}

/** Old flags (Megatron-LM, arguments.py and transformer_config.py at d98e8a64). */
export const renamedMegatronFlags: Readonly<Record<string, RenamedFlag>> = {
  '--moe-enable-deepep': {
    now: '--moe-token-dispatcher-type flex --moe-flex-dispatcher-backend deepep',
    accepted: true,
  },
  '--moe-deepep-num-sms': { now: '--moe-flex-dispatcher-num-sms', accepted: true },
  '--moe-hybridep-num-sms': { now: '--moe-flex-dispatcher-num-sms', accepted: true },
  '--moe-router-padding-for-fp8': { now: '--moe-router-padding-for-quantization', accepted: true },
  '--moe-layer-recompute': { now: '--recompute-granularity selective --recompute-modules moe', accepted: true },
  '--moe-router-topk-limited-devices': {
    now: '--moe-router-num-groups with --moe-router-group-topk',
    accepted: false,
  },
  '--cuda-graph-scope': { now: '--cuda-graph-modules', accepted: true },
  '--enable-cuda-graph': { now: '--cuda-graph-impl local', accepted: true },
  '--external-cuda-graph': { now: '--cuda-graph-impl transformer_engine', accepted: true },
  '--batch-size': { now: '--micro-batch-size', accepted: false },
  '--model-parallel-size': { now: '--tensor-model-parallel-size', accepted: false },
  '--checkpoint-activations': { now: '--recompute-activations', accepted: false },
  '--use-dist-ckpt': { now: 'nothing: it has no effect any more', accepted: true },
};
