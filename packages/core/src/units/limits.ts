/**
 * The largest counts that are taken from a file, a flag or a name: beyond every machine and model that there is, and
 * small enough that whatever is made of one of them fits. Checked before anything is allocated or repeated; products of
 * several have limits of their own.
 */
export const limits = {
  layers: 4096,
  /** Of one layer. */
  experts: 2 ** 16,
  /** Of all layers together: each has tensors of its own. */
  expertsOfModel: 2 ** 18,
  /** Hidden size, inner widths, heads, and their dimensions. */
  width: 2 ** 24,
  vocabulary: 2 ** 24,
  /** Positions, windows, and tokens of one sequence. */
  sequence: 2 ** 31,
  /** Sequences of a step or of a micro-batch. */
  sequences: 2 ** 20,
  /** Tokens that one replica has in work at a time, or that a step trains on over all replicas. */
  tokens: 2 ** 24,
  /** Ranks, devices and nodes that are described. */
  ranks: 2 ** 20,
  /** Ranks that are started as threads or processes, and hosts that they are started on. */
  startedRanks: 4096,
  tiers: 16,
  ports: 1024,
  multiprocessors: 2 ** 16,
  /** Into which a pass is cut. */
  chunks: 256,
  steps: 1e9,
  rounds: 1e6,
  /** A factor or a share below it is a slip, and what is divided by it would not be finite. */
  leastFactor: 1e-6,
  /** How much slower an emulated network may run than the real one. */
  timeScale: 1e9,
  seed: 2 ** 32 - 1,
} as const;
