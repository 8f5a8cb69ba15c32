import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { findNonsense } from './fit.js';
import { linkBound } from './link-bounds.js';
import { busFactor, measuredOps } from './measurement.js';
import type { Measurement, MeasuredOp } from './measurement.js';

const row = (change: Partial<Measurement>): Measurement => ({
  source: 'log.txt',
  line: 7,
  origin: '',
  gpu: 'NVIDIA H100 80GB HBM3',
  system: '',
  library: 'nccl',
  op: 'all_to_all',
  ranks: 8,
  nodes: 2,
  bytes: 2 ** 30,
  seconds: 1,
  ...change,
});

/** Seconds of a collective at a bus bandwidth. */
const at = (op: MeasuredOp, ranks: number, busGBs: number): number => (2 ** 30 * busFactor(op, ranks)) / (busGBs * 1e9);

describe('linkBound', () => {
  it('over two nodes of four H100: half of an all_to_all crosses four host ports of 63 GB/s', () => {
    // by hand: a node sends 4 x half of its ranks' buffers through 4 x 63 GB/s, so a byte of the buffer takes 0.5 /
    // 63e9 s
    expect(linkBound({ gpu: 'H100', op: 'all_to_all', ranks: 8, nodes: 2 })?.secondsPerByte).toBeCloseTo(
      0.5 / 63e9,
      20,
    );
  });

  it('over two nodes of eight H100, a ring is bound by the links, not by the NICs', () => {
    // 16 ranks: 15/16 of the buffer through 450 + 63 GB/s is slower than half of it through 8 x 63
    expect(linkBound({ gpu: 'H100', op: 'all_gather', ranks: 16, nodes: 2 })?.secondsPerByte).toBeCloseTo(
      15 / 16 / 513e9,
      20,
    );
  });

  it('knows links that span nodes, and nothing of devices that are not listed', () => {
    const wide = linkBound({ gpu: 'NVIDIA GB300', op: 'all_to_all', ranks: 8, nodes: 2 });
    expect(wide?.secondsPerByte).toBeCloseTo(7 / 8 / 900e9, 20);
    expect(linkBound({ gpu: 'AMD Radeon Graphics', op: 'all_to_all', ranks: 8, nodes: 1 })).toBeUndefined();
  });

  it('never asks less of more nodes', () => {
    fc.assert(
      fc.property(fc.constantFrom(...measuredOps), fc.constantFrom('A100', 'H100', 'B200'), (op, gpu) => {
        const bounds = [2, 4, 8, 16].map(
          (nodes) => linkBound({ gpu, op, ranks: 8 * nodes, nodes })?.secondsPerByte ?? 0,
        );
        bounds.slice(1).forEach((bound, i) => expect(bound).toBeGreaterThanOrEqual(bounds[i] ?? Infinity));
      }),
    );
  });
});

describe('what no link carries over nodes', () => {
  it('is refused, naming rows and datasheet; what was measured there is not', () => {
    // published: H100 reaches 47 GB/s of a 50 GB/s NIC in groups of one rank a node, 480 GB/s of bus bandwidth in
    // switches' all_reduce over 2 nodes
    expect(findNonsense([row({ ranks: 2, seconds: at('all_to_all', 2, 47) })])).toEqual([]);
    expect(findNonsense([row({ op: 'all_reduce', ranks: 16, seconds: at('all_reduce', 16, 486) })])).toEqual([]);
    const [found] = findNonsense([row({ seconds: at('all_to_all', 8, 200) })]);
    expect(found?.problem).toMatch(/more than the host ports of 4 H100 a node over 2 nodes carry \(.*PCIe 5\.0 x16\)/u);
    expect(findNonsense([row({ op: 'all_gather', ranks: 16, seconds: at('all_gather', 16, 900) })])).toHaveLength(1);
  });
});
