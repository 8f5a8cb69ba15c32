/** One layer of experts, forward and backward in bf16, sustained, and the peers on the same card in turns with it. */
import { CudaContext } from '../../device/cuda/context.js';
import type { ExpertWay } from '../../device/cuda/layer/expert-products.js';
import { CudaMoeLayer, expertFlops, weightElements, type MoeLayerShape } from '../../device/cuda/layer/moe-layer.js';
import { peerNames, Peers, type PeerAnswer, type PeerName } from './peers.js';
import { PieceClock, type PieceTime } from './layer-pieces.js';
import { fillRandom } from './timing.js';
import { minOf } from '@monta/core/units';

const tokens = 8192;
const common = { tokens, renormalise: true };

/** M: as Mixtral 8x7B; Q: as Qwen3-30B-A3B; D: 32 local experts of DeepSeek-V3; X: 2x70B over TP = 8. */
export const layerShapes: Readonly<Record<string, MoeLayerShape>> = {
  M: { ...common, hidden: 4096, ffn: 14_336, experts: 8, picks: 2 },
  Q: { ...common, hidden: 2048, ffn: 768, experts: 128, picks: 8 },
  D: { ...common, hidden: 7168, ffn: 2048, experts: 32, picks: 8 },
  X: { ...common, hidden: 8192, ffn: 3584, experts: 2, picks: 2 },
};

const ways: readonly ExpertWay[] = ['loop', 'batched', 'measured'];

/** Steps before and during which pieces are timed. */
const warmSteps = 20;
const pieceSteps = 20;

/**
 * Length of one run and of the same before it, which is not timed: what ran before must not decide how warm the card
 * is. Runs of each in turns.
 */
const runMilliseconds = 500;
const rounds = 5;

export interface WayMeasurement {
  readonly name: string;
  /** Median of the runs, and all of them, milliseconds a step. */
  readonly milliseconds: number;
  readonly runs: readonly number[];
  /** Host time of one backward pass, issued to an idle card. */
  readonly hostMilliseconds?: number;
  readonly peakBytes?: number;
  readonly choices?: Readonly<Record<string, string>>;
  readonly pieces?: readonly PieceTime[];
  readonly error?: string;
}

export interface LayerMeasurement {
  readonly shape: MoeLayerShape;
  /** Of the experts' products, forward and backward. */
  readonly flops: number;
  readonly monta: readonly WayMeasurement[];
  readonly peers: readonly WayMeasurement[];
  /** Best of Monta over the best peer; below 1 Monta is faster. Absent where no peer ran. */
  readonly ratio?: number;
}

interface Runner {
  readonly said: Omit<WayMeasurement, 'milliseconds' | 'runs'>;
  run(): Promise<number> | number;
}

/** Monta's layer in one way, in a context of its own: closing it gives the memory back. */
function montaRunner(shape: MoeLayerShape, way: ExpertWay): Runner & { close(): void } {
  const context = new CudaContext();
  const elements = weightElements(shape);
  const random = (count: number, scale: number, seed: number): number => {
    const address = context.memory.allocate(2 * count);
    fillRandom({ context, to: address, elements: count, scale, seed });
    return address;
  };
  // Uniform with a standard deviation of 0.02, as models begin.
  const spread = 0.0346;
  const weights = {
    router: random(elements.router, spread, 1),
    gateUp: random(elements.gateUp, spread, 2),
    down: random(elements.down, spread, 3),
  };
  const gradients = {
    router: random(elements.router, spread, 4),
    gateUp: random(elements.gateUp, spread, 5),
    down: random(elements.down, spread, 6),
  };
  const activations = shape.tokens * shape.hidden;
  const [x, dy, y, dx] = [7, 8, 9, 10].map((seed) => random(activations, 1, seed));
  context.synchronize();
  const pieces = new PieceClock(context);
  const onPiece = (piece: string): void => pieces.mark(layer.stream, piece);
  const layer = new CudaMoeLayer(context, {
    shape,
    weights,
    gradients,
    storage: 'bf16',
    way,
    candidates: 8,
    onPiece,
  });
  const step = (): void => {
    layer.forward(x, y);
    layer.backward(x, dy, dx);
  };
  const { runtime } = context.libraries;
  const [start, end] = [context.createEvent(true), context.createEvent(true)];
  const time = (calls: number): number => {
    runtime.cudaEventRecord(start, layer.stream);
    for (let i = 0; i < calls; i++) step();
    runtime.cudaEventRecord(end, layer.stream);
    runtime.cudaEventSynchronize(end);
    return context.milliseconds(start, end) / calls;
  };
  time(3);
  const once = time(3);
  context.synchronize();
  const begun = performance.now();
  layer.backward(x, dy, dx);
  const hostMilliseconds = performance.now() - begun;
  context.synchronize();
  for (let i = 0; i < warmSteps; i++) step();
  pieces.start(layer.stream);
  for (let i = 0; i < pieceSteps; i++) step();
  const said = {
    name: `Monta, ${layer.way}`,
    peakBytes: context.memory.peakBytes,
    hostMilliseconds,
    choices: layer.choices,
    pieces: pieces.take(shape),
  };
  return {
    said,
    run: () => {
      const calls = Math.max(2, Math.round(runMilliseconds / once));
      time(calls);
      return time(calls);
    },
    close: () => context.close(),
  };
}

/** Peers that could be prepared, and those that could not, with the reason. */
async function peerRunners(peers: Peers): Promise<{ ready: Runner[]; failed: WayMeasurement[] }> {
  const ready: Runner[] = [];
  const failed: WayMeasurement[] = [];
  for (const name of peerNames) {
    const { error, peakBytes } = await peers.prepare(name);
    if (error === undefined) ready.push({ said: { name, peakBytes }, run: () => timePeer(peers, name) });
    else failed.push({ name, milliseconds: NaN, runs: [], error });
  }
  return { ready, failed };
}

async function timePeer(peers: Peers, name: PeerName): Promise<number> {
  const answer: PeerAnswer = await peers.time(name, runMilliseconds);
  if (answer.milliseconds === undefined) throw new Error(`${name}: ${answer.error ?? 'no time'}`);
  return answer.milliseconds;
}

/** Measures a shape; with `withPeers` in turns with the peers: one run of each, `rounds` times. */
export async function measureLayer(shape: MoeLayerShape, withPeers: boolean): Promise<LayerMeasurement> {
  const own = ways.map((way) => montaRunner(shape, way));
  const peers = withPeers ? new Peers(shape) : undefined;
  try {
    const { ready, failed } = peers === undefined ? { ready: [], failed: [] } : await peerRunners(peers);
    const all: readonly Runner[] = [...own, ...ready];
    const runs = all.map((): number[] => []);
    for (let round = 0; round < rounds; round++)
      for (const [place, runner] of all.entries()) runs[place].push(await runner.run());
    const measured = all.map(({ said }, place): WayMeasurement => ({
      ...said,
      milliseconds: median(runs[place]),
      runs: runs[place],
    }));
    const monta = measured.slice(0, own.length);
    const others = [...measured.slice(own.length), ...failed];
    const best = minOf(others.filter(({ error }) => error === undefined).map(({ milliseconds }) => milliseconds));
    const ratio = Number.isFinite(best) ? minOf(monta.map(({ milliseconds }) => milliseconds)) / best : undefined;
    return { shape, flops: expertFlops(shape), monta, peers: others, ratio };
  } finally {
    peers?.close();
    for (const runner of own) runner.close();
  }
}

function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)];
}

/** A table for people. */
export function layerTable(name: string, { flops, monta, peers, ratio }: LayerMeasurement): string {
  const lines = [...monta, ...peers].map(({ name, milliseconds, hostMilliseconds, peakBytes, error }) =>
    error === undefined
      ? `  ${name.padEnd(36)} ${milliseconds.toFixed(3).padStart(9)} ms  ` +
        `${(flops / milliseconds / 1e9).toFixed(0).padStart(4)} TFLOP/s  ${
          peakBytes === undefined ? '' : `${(peakBytes / 2 ** 30).toFixed(1)} GiB`
        }${hostMilliseconds === undefined ? '' : `  host ${hostMilliseconds.toFixed(2)} ms backward`}`
      : `  ${name.padEnd(36)} did not run: ${error.split('\n', 1)[0]}`,
  );
  const said = ratio === undefined ? '' : `\n  Monta / best peer: ${ratio.toFixed(3)}`;
  return `${name}\n${lines.join('\n')}${said}`;
}
