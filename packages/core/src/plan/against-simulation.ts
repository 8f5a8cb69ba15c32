/**
 * The closed form of a step held against the simulation of its program, both with the same prices: settings are drawn
 * from spaces that the program has, simulated in one, and priced with constants that stand for what the simulation
 * charges (`simulationConstants`).
 */
import { getCluster } from '../cluster/index.js';
import { getModel } from '../model/index.js';
import {
  fitStepConstants,
  priceStep,
  simulationConstants,
  simulationPriors,
  spearman,
  type RunSetting,
  type StepConstants,
} from '../estimate/index.js';
import { appendAll, median, quantile, Random } from '../units/index.js';
import { randomSettings } from './search/random-settings.js';
import { simulateSetting, stepOfSetting } from './simulated-setting.js';
import type { PlanProblem } from './space/problem.js';

/** Four layers each, on one to four nodes of three generations, PP up to 4. */
const spaces = [
  ['mixtral-8x7b', 'h100-2x8'],
  ['qwen3-30b-a3b', 'h100-2x8'],
  ['deepseek-v2-lite', 'b200-2x8'],
  ['qwen3-30b-a3b', 'a100-2x8'],
  ['mixtral-8x7b', 'h100-4x8'],
  ['olmoe-1b-7b', 'h100-1x8'],
] as const;

const [sequences, batches] = [
  [2048, 4096],
  [32, 64],
] as const;
/** Beyond so many micro-batches a simulation of the whole takes long and says nothing new. */
const mostMicroBatches = 64;

const problems = (): PlanProblem[] =>
  spaces.flatMap(([model, cluster]) =>
    sequences.flatMap((sequence) =>
      batches.map((globalBatch) => ({
        model: getModel(`${model} truncated to 4 layers`),
        cluster: getCluster(cluster),
        sequence,
        globalBatch,
        bounds: { cp: { min: 1, max: 1 }, pp: { min: 1, max: 4 } },
        fixed: { sharing: 'none' as const },
        precision: 'bf16' as const,
        states: 'mixed' as const,
        stack: 'eager' as const,
        imbalance: 1,
      })),
    ),
  );

/** So many settings that programs have, equally many from every space. Seeded. */
export function drawnSettings(seed: number, count: number): RunSetting[] {
  const random = new Random(seed);
  const all = problems();
  const each = Math.ceil(count / all.length);
  const drawn = all.map((problem) => {
    const found: RunSetting[] = [];
    while (found.length < each) appendAll(found, randomSettings(problem, 4 * each, random).filter(isSimulated));
    return found.slice(0, each);
  });
  return Array.from({ length: each }, (_, index) => drawn.flatMap((found) => found[index] ?? []))
    .flat()
    .slice(0, count);
}

/** Stages are balanced: four layers leave nothing to take off the ends of a pipeline. */
function isSimulated(setting: RunSetting): boolean {
  if (setting.layersOfStages !== undefined) return false;
  const step = stepOfSetting(setting);
  return !('known' in step) && step.microBatches <= mostMicroBatches;
}

/** A setting, and what its simulation takes. */
export interface SimulatedSetting {
  readonly setting: RunSetting;
  readonly measuredSeconds: number;
}

/** Simulates settings in one, every rank of a kind. */
export const simulateDrawn = (settings: readonly RunSetting[]): SimulatedSetting[] =>
  settings.flatMap((setting) => {
    const run = simulateSetting(setting, { exact: true });
    return run.known ? [{ setting, measuredSeconds: run.seconds }] : [];
  });

/** Constants of the closed form for the simulation's prices, fitted to settings. */
export const fitToSimulation = (runs: readonly SimulatedSetting[]): StepConstants =>
  fitStepConstants({ runs, priors: simulationPriors, start: simulationConstants, iterations: 40 }).constants;

export interface AgainstSimulation {
  readonly settings: number;
  readonly medianError: number;
  readonly p95Error: number;
  readonly spearman: number;
}

/** How far the closed form is from the simulation. */
export function againstSimulation(
  runs: readonly SimulatedSetting[],
  constants: StepConstants = simulationConstants,
): AgainstSimulation {
  const seconds = runs.map(({ setting }) => priceStep(setting, constants).seconds);
  const simulated = runs.map(({ measuredSeconds }) => measuredSeconds);
  const errors = seconds.map((one, index) => Math.abs(one / (simulated[index] ?? Number.NaN) - 1));
  return {
    settings: runs.length,
    medianError: median(errors),
    p95Error: quantile(errors, 0.95),
    spearman: spearman(seconds, simulated),
  };
}
