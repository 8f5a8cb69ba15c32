/**
 * A layer of experts over the cards of one node, a card an expert group's rank: Monta's within a training step, and
 * PyTorch's with all_to_all_single in processes of python3, in turns on the same cards.
 */
import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { parseLayout } from '@monta/core/layout';
import { getModel, type MoeModel } from '@monta/core/model';
import { inChunks, namedStrategies, strategyLabel, type StepShape, type Strategy } from '@monta/core/schedule';
import type { Span } from '@monta/core/trace';
import { median, minOf, appendAll } from '@monta/core/units';
import { withinTime } from '../../launch/bounded-launcher.js';
import type { Launcher } from '../../launch/index.js';

export interface ParallelJob {
  /** Its strategy does not matter. */
  readonly step: StepShape;
  readonly strategies: readonly Strategy[];
  readonly warmSteps: number;
  readonly steps: number;
}

/** What rank 0 tells of a way: a layer's forward and backward of every timed step, the slowest rank's. */
export interface RankLayers {
  readonly way: number;
  readonly seconds: readonly number[];
}

export interface ParallelWay {
  readonly name: string;
  /** Of every step of all turns. */
  readonly seconds: readonly number[];
  readonly medianSeconds: number;
}

export interface ParallelReport {
  readonly ranks: number;
  /** Of a rank. */
  readonly tokens: number;
  readonly model: string;
  readonly monta: readonly ParallelWay[];
  readonly peer?: ParallelWay & { readonly torch: string };
  /** Why the peer did not run. */
  readonly problem?: string;
  /** Turns that time ended before they were whole. */
  readonly cut?: true;
}

/** The same distance from `src/bench/cuda` and from `dist/bench/cuda`. */
const script = fileURLToPath(new URL('../../../peers/expert_parallel.py', import.meta.url));

/** Steps before those that are timed: a card looks up new sizes of products, and the host's code is compiled. */
const [turns, layers, warmSteps, steps] = [2, 2, 24, 8];

/** Several chunk counts of a plain exchange, and one that sends a token to a card once. */
const strategies: readonly Strategy[] = [
  ...[1, 2, 4].map((chunks) => inChunks(namedStrategies.scattered, chunks)),
  inChunks(namedStrategies['deduplicated-gathered'], 1),
];

export interface ParallelOptions {
  readonly launcher: Launcher;
  readonly ranks: number;
  readonly dtype: 'f32' | 'bf16';
  readonly model?: MoeModel;
  /** Tokens of a rank. */
  readonly tokens?: number;
  /** No new turn after so many. */
  readonly seconds: number;
  readonly askPeer?: (request: object, seconds: number) => Promise<PeerTimes>;
  readonly onReport: (report: ParallelReport) => void;
}

export interface PeerTimes {
  readonly milliseconds: readonly number[];
  readonly torch: string;
}

/** Tokens are all unlike, as the peer's are, so that experts get about as many rows each. */
const vocabSize = 16384;

/** Layers of a model with one rank an expert's place; what is not timed is small. */
const stepOf = (
  model: MoeModel,
  { ranks, tokens, dtype }: { readonly ranks: number; readonly tokens: number; readonly dtype: StepShape['dtype'] },
): StepShape => ({
  model: { ...model, layers, moeLayers: Array.from({ length: layers }, () => true), vocabSize },
  layout: { ...parseLayout(`dp=${ranks},ep=${ranks}`), ranksPerNode: ranks },
  sequence: tokens,
  sequences: 1,
  microBatches: 1,
  dtype,
  strategy: strategies[0],
});

/** Measures; what is there is told after every part of a turn. */
export async function measureParallel(options: ParallelOptions): Promise<ParallelReport> {
  const { launcher, ranks, dtype, seconds, onReport, askPeer = askPython } = options;
  const { model = getModel('qwen3-30b-a3b'), tokens = 8192 } = options;
  const end = performance.now() + seconds * 1e3;
  const step = stepOf(model, { ranks, tokens, dtype });
  const own = strategies.map((): number[] => []);
  const theirs: number[] = [];
  let torch = '';
  let problem: string | undefined;
  let cut = false;
  const reported = (): ParallelReport => {
    const report = {
      ranks,
      tokens,
      model: model.name,
      monta: strategies.flatMap((strategy, way) => wayOf(strategyLabel(strategy), own[way])),
      ...(theirs.length === 0 ? {} : { peer: { ...wayOf('PyTorch, all_to_all_single', theirs)[0], torch } }),
      ...(problem === undefined ? {} : { problem }),
      ...(cut ? { cut } : {}),
    };
    onReport(report);
    return report;
  };
  for (let turn = 0; turn < turns && performance.now() < end; turn++) {
    const ran = launcher.launch({
      ranks,
      memoryBytes: 64 * 2 ** 20,
      maximumMemoryBytes: 2 ** 30,
      workerModule: new URL('./parallel.worker.ts', import.meta.url),
      workerData: { step, strategies, warmSteps, steps } satisfies ParallelJob,
      trace: true,
      onMessage: (_, message) => {
        const one = message as RankLayers;
        appendAll(own[one.way], one.seconds);
      },
    });
    cut = !(await withinTime(ran));
    reported();
    if (cut) break;
    const left = (end - performance.now()) / 1e3;
    if (problem !== undefined || left <= 0) continue;
    try {
      const { hiddenSize: hidden, expertFfn: ffn, experts, topK: picks } = model;
      const answer = await askPeer({ ranks, tokens, hidden, ffn, experts, picks, steps }, left);
      appendAll(
        theirs,
        answer.milliseconds.map((one) => one / 1e3),
      );
      ({ torch } = answer);
    } catch (error) {
      problem = error instanceof Error ? error.message : String(error);
    }
    reported();
  }
  return reported();
}

const wayOf = (name: string, seconds: readonly number[]): ParallelWay[] =>
  seconds.length === 0 ? [] : [{ name, seconds, medianSeconds: median(seconds) }];

/** Forward and backward of a layer of experts, mean of the layers: from a pass's first start to its last end. */
export function layerSeconds(spans: readonly Span[], count: number): number {
  const nodes = new Map<number, { start: number; end: number }>();
  for (const { node, template, issued, end } of spans) {
    if (!template.startsWith('moe.')) continue;
    const known = nodes.get(node);
    if (known === undefined) nodes.set(node, { start: issued, end });
    else Object.assign(known, { start: minOf([known.start, issued]), end: Math.max(known.end, end) });
  }
  return [...nodes.values()].reduce((sum, { start, end }) => sum + end - start, 0) / count;
}

const lastLine = (text: string): string => text.trim().split('\n').at(-1) ?? '';

/** Of a process that failed, as `execFile` rejects. */
interface Ended {
  readonly killed?: boolean;
  readonly code?: string | number | null;
  readonly stderr?: string;
}

/** Why a peer did not answer, in words that name no place on this machine. */
export function whyNoAnswer({ killed = false, code, stderr = '' }: Ended, seconds: number): string {
  if (killed) return `not done in ${seconds.toFixed(0)} s`;
  if (code === 'ENOENT') return 'no python3 on PATH';
  const said = lastLine(stderr);
  return said === '' ? `python3 ended with ${String(code)}` : said;
}

/** What a peer printed last. Throws where it computed on processors. */
export function peerAnswer(printed: string): PeerTimes {
  const { device, ...times } = JSON.parse(lastLine(printed)) as PeerTimes & { readonly device: string };
  if (device !== 'cuda') throw new Error('PyTorch here sees no card');
  return times;
}

/** Runs the peer; rejects with what python3 said where it could not run. */
async function askPython(request: object, seconds: number): Promise<PeerTimes> {
  const timeout = Math.max(1, Math.round(seconds * 1e3));
  const settings = { timeout, killSignal: 'SIGKILL' } as const;
  const run = promisify(execFile)('python3', [script, JSON.stringify(request)], settings);
  const { stdout } = await run.catch((error: unknown) => {
    throw new Error(whyNoAnswer(error as Ended, seconds), { cause: error });
  });
  return peerAnswer(stdout);
}
