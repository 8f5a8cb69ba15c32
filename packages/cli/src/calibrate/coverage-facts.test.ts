import {
  CalibrationLookup,
  chooseDispatch,
  costModel,
  expectedErrorOf,
  getCluster,
  namedStrategies,
  parseLayout,
  type Calibration,
  type Layout,
} from '@monta/core';
import { describe, expect, it } from 'vitest';
import { collectiveLines, coverageOf, coverageText } from './coverage-facts.js';

const cluster = getCluster('h100-2x8');
const across: Calibration = {
  notes: [],
  series: [
    {
      gpu: cluster.device.name,
      system: '',
      library: 'nccl',
      op: 'all_to_all',
      ranks: 16,
      nodes: 2,
      basis: 'measured',
      addedError: 0,
      sources: ['x.log:1-9'],
      points: [20, 22, 24, 26, 28].map((power) => ({ bytes: 2 ** power, seconds: 5e-5 + 2 ** power / 40e9 })),
    },
  ],
};
const lookup = new CalibrationLookup(across);
const textFor = (layout: string): string =>
  coverageText(coverageOf(lookup, cluster, parseLayout(layout, 16)) ?? []).split('\n')[0] ?? '';

it('says of every group what its figures rest on', () => {
  expect(textFor('dp=16,ep=16')).toMatch(/^all_to_all of ep, 16 ranks on 2 nodes: measured from .* \(x\.log:1-9\)$/u);
  const uncovered = textFor('dp=16,ep=8');
  expect(uncovered).toMatch(/^all_to_all of ep, 8 ranks on 1 node: not calibrated, priced by the cluster file: /u);
  expect(uncovered).toContain('only all_to_all over 16 ranks');
  expect(coverageOf(undefined, cluster, parseLayout('dp=16,ep=8', 16))).toBeUndefined();
});

describe('prices with a calibration of one group', () => {
  const choose = (layout: Layout) => {
    const shape = {
      tokens: 4096,
      hiddenSize: 2048,
      expertFfn: 768,
      experts: 128,
      topK: 8,
      layout,
      dtype: 'bf16',
    } as const;
    const model = costModel(cluster.device, { curves: lookup });
    const choice = chooseDispatch(
      { cluster, shape, model, routing: { kind: 'uniform' }, seed: 1, scope: 'dispatch' },
      // The way whose all_to_all is the one that was measured.
      { chunkCounts: [1], halves: [namedStrategies.scattered] },
    );
    if (!choice.known) throw new Error(choice.missing.join());
    return choice.best;
  };
  const lineOf = (best: ReturnType<typeof choose>): string | undefined =>
    collectiveLines(best.forward.collectives).find((line) => line.startsWith('all_to_all'));
  const [covered, uncovered] = [choose(parseLayout('dp=16,ep=16', 16)), choose(parseLayout('dp=16,ep=8', 16))];

  it('say which series covers the collective, or why the cluster file prices it', () => {
    expect(lineOf(covered)).toMatch(
      /^all_to_all of ep, 16 ranks on 2 nodes: (?:measured|interpolated), within .*x\.log:1-9/u,
    );
    expect(lineOf(uncovered)).toMatch(/^all_to_all of ep, 8 ranks on 1 node: datasheet, within 20 % assumed \(/u);
    expect(lineOf(uncovered)).toMatch(/not calibrated: .*only all_to_all over 16 ranks/u);
  });

  it('expect less error where the collective was measured', () => {
    expect(expectedErrorOf(covered)).toBeLessThan(0.8 * expectedErrorOf(uncovered));
  });
});
