import { CalibrationLookup, getCluster, parseLayout, type Calibration } from '@monta/core';
import { expect, it } from 'vitest';
import { coverageOf, coverageText } from './coverage-facts.js';

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
      points: [20, 28].map((power) => ({ bytes: 2 ** power, seconds: 5e-5 + 2 ** power / 40e9 })),
    },
  ],
};
const lookup = new CalibrationLookup(across);
const textFor = (layout: string): string =>
  coverageText(coverageOf(lookup, cluster, parseLayout(layout, 16)) ?? []).split('\n')[0] ?? '';

it('says of every group what its figures rest on', () => {
  expect(textFor('dp=16,ep=16')).toMatch(/^all_to_all of ep, 16 ranks on 2 nodes: measured from .* \(x\.log:1-9\)$/u);
  expect(textFor('dp=16,ep=8')).toMatch(
    /^all_to_all of ep, 8 ranks on 1 node: not calibrated, priced by the cluster file: .*only all_to_all over 16 ranks/u,
  );
  expect(coverageOf(undefined, cluster, parseLayout('dp=16,ep=8', 16))).toBeUndefined();
});
