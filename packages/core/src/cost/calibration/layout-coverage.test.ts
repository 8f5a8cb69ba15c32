import { describe, expect, it } from 'vitest';
import { getCluster } from '../../cluster/presets.js';
import { parseLayout } from '../../layout/resolve.js';
import { layoutCoverage } from './layout-coverage.js';
import { CalibrationLookup } from './lookup.js';
import type { Series } from './series.js';

const cluster = getCluster('h100-2x8');
const series = (change: Partial<Series>): Series => ({
  gpu: cluster.device.name,
  system: '',
  library: 'nccl',
  op: 'all_to_all',
  ranks: 16,
  nodes: 2,
  basis: 'measured',
  addedError: 0,
  sources: ['x.log:1-9'],
  points: [20, 24, 28].map((power) => ({ bytes: 2 ** power, seconds: 5e-5 + 2 ** power / 40e9 })),
  ...change,
});

/** `ep all_to_all 8/1: none` for every entry. */
const shown = (layout: string, ...held: Series[]): string[] =>
  layoutCoverage(new CalibrationLookup({ series: held, notes: [] }), cluster, parseLayout(layout, 16)).map(
    ({ group, op, ranks, nodes, coverage }) => `${group} ${op} ${ranks}/${nodes}: ${coverage.kind}`,
  );

describe('layoutCoverage', () => {
  it('a measurement over 16 ranks says nothing of groups of 8 inside a node', () => {
    expect(shown('dp=16,ep=8', series({}))).toEqual([
      'ep all_to_all 8/1: none',
      'edp all_reduce 2/2: none',
      'dense all_reduce 16/2: none',
    ]);
    expect(shown('dp=16,ep=16', series({}))[0]).toBe('ep all_to_all 16/2: measured');
  });

  it('groups of tp inside a node are another matter than those of experts across nodes', () => {
    const inside = series({ op: 'all_gather', ranks: 8, nodes: 1 });
    expect(shown('tp=8,dp=2,ep=2', series({}), inside)).toEqual([
      'ep all_to_all 2/2: none',
      'etp all_gather 8/1: measured',
      'etp reduce_scatter 8/1: carried',
      'etp all_reduce 8/1: carried',
      'dense all_reduce 16/2: none',
    ]);
  });
});
