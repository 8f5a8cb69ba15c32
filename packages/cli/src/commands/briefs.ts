/** What each command is for, in a line: help lists them without loading any. */
export const briefs = {
  train: 'Train a model over all ranks of a cluster, with the dispatch that its traffic calls for',
  verify: 'Recompute what a Hugging Face checkpoint must give, on any layout and with any dispatcher',
  plan: 'Choose the layout of a training run, or how tokens travel under a layout, with reasons',
  explain: 'Say why a plan is as it is, and what would change it',
  compare: 'Lay two plans beside one another: what differs, and what it costs',
  memory: 'Whether a training step fits into memory: what takes it, where the peak is, and what could be changed',
  simulate: 'Show where the time of a layer or a step goes, operation by operation',
  bench: 'Measure on the running backend, beside prediction and bound',
  calibrate: 'Learn the links of a cluster from measurements, or measure them',
  validate:
    'Compare measured collectives with what a calibration predicts, or published training runs with the estimate',
  cluster: 'List known clusters, show one with its sources, or print it as a file',
  model: 'List known models, or show shape, parameters by part and FLOPs per token of one',
  convert: 'Convert checkpoints: training state to Hugging Face folder and back, another type, another layout',
  inspect: 'Show what a checkpoint holds and whether it is complete',
  lint:
    'Check launch flags and configurations of Megatron-LM, Megatron-Bridge, NeMo, DeepSpeed and torchtitan, ' +
    'without a GPU',
  doctor: 'What went wrong: full memory, a slow step, or an all_to_all that is slow',
  export: 'Write a plan as the flags of Megatron-LM, Megatron-Bridge, DeepSpeed or torchtitan',
  trace: 'Say where the communication of a profiled step went, from traces of PyTorch, Nsight Systems or NCCL',
  studio: 'Plan, look and compare in the browser',
  completion: 'Print a script that completes command lines in your shell',
} as const;

export type CommandName = keyof typeof briefs;
