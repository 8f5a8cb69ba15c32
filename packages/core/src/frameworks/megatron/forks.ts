/** Forks of Megatron-LM whose trainers bear its names, told by flags that it never had. */

const flagsOf: Readonly<Record<string, readonly string[]>> = {
  // databricks/megablocks, third_party/Megatron-LM
  MegaBlocks: [
    '--moe-num-experts',
    '--moe-expert-model-parallelism',
    '--moe-weight-parallelism',
    '--moe-top-k',
    '--moe-capacity-factor',
    '--moe-loss-weight',
    '--moe-lbl-in-fp32',
    '--mlp-type',
  ],
  // deepspeedai/Megatron-DeepSpeed, megatron/arguments.py
  'Megatron-DeepSpeed': [
    '--deepspeed',
    '--deepspeed-activation-checkpointing',
    '--deepspeed_config',
    '--zero-stage',
    '--no-pipeline-parallel',
    '--ds-sequence-parallel-size',
    '--moe-expert-parallel-size',
    '--moe-train-capacity-factor',
    '--moe-eval-capacity-factor',
    '--moe-min-capacity',
    '--moe-loss-coeff',
    '--disable-moe-token-dropping',
    '--create-moe-param-group',
    '--train-tokens',
    '--lr-decay-tokens',
  ],
  // llm-jp/Megatron-LM
  'llm-jp Megatron-LM': ['--use-mpi', '--use-z-loss'],
};

/** The fork that words are for; undefined for Megatron-LM itself. */
export const forkOf = (flags: readonly string[]): string | undefined =>
  Object.entries(flagsOf).find(([, own]) => flags.some((flag) => own.includes(flag)))?.[0];
