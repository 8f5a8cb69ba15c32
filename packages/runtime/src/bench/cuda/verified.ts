/** `verify` on the card, of all models of a folder, in f32 and in bf16. */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { inChunks, searchedHalves, strategyLabel, unsupportedStrategy } from '@monta/core/schedule';
import { boundedLauncher, OutOfTime } from '../../launch/bounded-launcher.js';
import { cudaLauncher, type Launcher } from '../../launch/launcher.js';
import { verify } from '../../verify/index.js';

export interface VerifiedModel {
  readonly model: string;
  readonly dtype: 'f32' | 'bf16';
  readonly strategies: readonly string[];
  readonly passed: boolean;
  /** Why it did not run to its end. */
  readonly problem?: string;
  /** Of the quantity nearest to its tolerance. */
  readonly worst?: { readonly quantity: string; readonly error: number; readonly tolerance: number };
  readonly seconds: number;
}

const layout = { tp: 1, cp: 1, dp: 1, pp: 1, ep: 1, etp: 1, edp: 1, ranksPerNode: 1, sequenceParallel: false };
const cardTypes = ['bf16', 'f32'] as const;

/** Model by model, bf16 first, until time is over; each is told as it is done. */
export async function measureVerified(
  folder: string,
  {
    seconds,
    onModel,
    launcher = cudaLauncher(),
    dtypes = cardTypes,
  }: {
    readonly seconds: number;
    readonly onModel: (all: readonly VerifiedModel[]) => void;
    readonly launcher?: Launcher;
    readonly dtypes?: readonly VerifiedModel['dtype'][];
  },
): Promise<readonly VerifiedModel[]> {
  const end = performance.now() + seconds * 1e3;
  const bounded = boundedLauncher(launcher, { end, stuckAfterSeconds: 60 });
  const strategies = searchedHalves()
    .filter((halves) => unsupportedStrategy(halves, { layout }) === undefined)
    .map((halves) => inChunks(halves, 1));
  const all: VerifiedModel[] = [];
  for (const dtype of dtypes)
    for (const model of readdirSync(folder).sort()) {
      const begun = performance.now();
      if (begun >= end) return all;
      const verified = verify({ folder: join(folder, model), layout, strategies, launcher: bounded, dtype });
      const outcome = await outcomeOf(verified);
      if (outcome === undefined) return all;
      const seconds = (performance.now() - begun) / 1e3;
      all.push({ model, dtype, strategies: strategies.map(strategyLabel), ...outcome, seconds });
      onModel(all);
    }
  return all;
}

/** A model that fails does not end the rest; undefined where time was over. */
async function outcomeOf(
  verified: ReturnType<typeof verify>,
): Promise<Pick<VerifiedModel, 'passed' | 'worst' | 'problem'> | undefined> {
  try {
    const results = await verified;
    const quantities = results.flatMap(({ quantities: of }) => of);
    const [worst] = quantities.sort((a, b) => b.error / b.tolerance - a.error / a.tolerance);
    if (worst === undefined) throw new Error('nothing was compared');
    const { quantity, error, tolerance } = worst;
    return { passed: results.every(({ passed }) => passed), worst: { quantity, error, tolerance } };
  } catch (error) {
    if (error instanceof OutOfTime) return undefined;
    return { passed: false, problem: error instanceof Error ? error.message : String(error) };
  }
}
