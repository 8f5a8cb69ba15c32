import { describe, expect, it } from 'vitest';
import { a800Testbed } from '../../testing/a800-testbed.js';
import { collectiveSeconds, concurrentSeconds, priceCollective } from './collective.js';
import { busiestPort } from './ways.js';
import { knownEstimate, unknownEstimate, weakestBasis } from './estimate.js';
import { fabricOf } from '../traffic/fabric.js';
import { costModel, describeCostModel, kernelSeconds } from './model.js';
import type { CollectiveCurves, CostModelOptions } from './model.js';

const cluster = a800Testbed;
const { device } = cluster;
const fabric = fabricOf(cluster);
const exact = (options: CostModelOptions = {}): CostModelOptions => ({
  ...options,
  inputs: { collectiveOverheadSeconds: 0, algorithm: 'direct', ...options.inputs },
});
const tp = [0, 1, 2, 3, 4, 5, 6, 7];
const pairs = (n: number, bytes: number) => ({ kind: 'pairs', bytes: new Float64Array(n * n).fill(bytes) }) as const;
const blocks = (n: number, bytes: number) => ({ kind: 'blocks', bytes: new Float64Array(n).fill(bytes) }) as const;

describe('collectives alone', () => {
  const model = costModel(device, exact());
  // T=8192, h=8192, k=2, bf16: V = 268.4 MB
  const V = 8192 * 8192 * 2 * 2;

  it('agree with the byte table of the 2x70B case: 10.7 and 1.34 ms between nodes, 1.47 ms per gather', () => {
    const duplicated = collectiveSeconds(
      fabric,
      priceCollective({ model, fabric, name: 'all_to_all', members: [0, 8], load: pairs(2, V) }),
    );
    // V for both replicas: half of it stays, twice (dispatch and combine)
    expect(duplicated.portSeconds).toBeCloseTo(V / 25e9, 12);
    expect(duplicated.portSeconds * 1e3).toBeCloseTo(10.7, 1);
    const sliced = collectiveSeconds(
      fabric,
      priceCollective({ model, fabric, name: 'all_to_all', members: [0, 8], load: pairs(2, V / 8) }),
    );
    expect(sliced.portSeconds * 1e3).toBeCloseTo(1.34, 2);
    expect(sliced.seconds - sliced.portSeconds).toBeCloseTo(6e-6, 15);
    expect(fabric.ports[sliced.port]?.id).toMatch(/^node\d\/network\.0\/(out|in)$/u);
    const gather = collectiveSeconds(
      fabric,
      priceCollective({ model, fabric, name: 'all_gather', members: tp, load: blocks(8, V / 8) }),
    );
    expect(gather.portSeconds).toBeCloseTo((V * 7) / 8 / 160e9, 12);
    expect(gather.basis).toBe('datasheet');
  });

  it('pay one latency direct and n-1 around the ring, twice for all_reduce', () => {
    const ring = costModel(device, exact({ inputs: { algorithm: 'ring', collectiveOverheadSeconds: 0 } }));
    const latency = (m: typeof model, name: 'all_gather' | 'all_reduce', members: number[]): number =>
      collectiveSeconds(fabric, priceCollective({ model: m, fabric, name, members, load: blocks(members.length, 100) }))
        .latencySeconds;
    expect(latency(model, 'all_gather', tp)).toBeCloseTo(3e-6, 15);
    expect(latency(model, 'all_reduce', tp)).toBeCloseTo(6e-6, 15);
    expect(latency(ring, 'all_gather', tp)).toBeCloseTo(7 * 3e-6, 15);
    expect(latency(ring, 'all_reduce', tp)).toBeCloseTo(14 * 3e-6, 15);
    // 14 hops inside, 2 across; the cheapest is left out
    const all = Array.from({ length: 16 }, (_, i) => i);
    expect(latency(ring, 'all_gather', all)).toBeCloseTo(13 * 3e-6 + 2 * 6e-6, 15);
  });

  it('count cross-rail bytes with their slowdown', () => {
    const straight = priceCollective({ model, fabric, name: 'all_to_all', members: [0, 8], load: pairs(2, 1e6) });
    const across = priceCollective({ model, fabric, name: 'all_to_all', members: [0, 9], load: pairs(2, 1e6) });
    expect(busiestPort(fabric, across.flows).seconds / busiestPort(fabric, straight.flows).seconds).toBeCloseTo(
      2.2,
      12,
    );
    expect(across.flows[0]?.bytes).toBe(1e6);
  });

  it('of several groups share ports', () => {
    const shared = fabricOf({
      ...cluster,
      tiers: cluster.tiers.map((tier, t) => (t === 1 ? { ...tier, ports: 4 } : tier)),
    });
    const groups = tp.map((rank) =>
      priceCollective({ model, fabric: shared, name: 'all_to_all', members: [rank, rank + 8], load: pairs(2, 1e6) }),
    );
    expect(concurrentSeconds(shared, groups).portSeconds).toBeCloseTo(2e6 / 25e9, 15);
  });

  it('cost a barrier its latency, and one rank nothing', () => {
    const barrier = priceCollective({ model, fabric, name: 'barrier', members: [0, 1, 8], load: { kind: 'nothing' } });
    expect([...barrier.latencySeconds]).toEqual([6e-6, 6e-6, 6e-6]);
    expect(
      collectiveSeconds(
        fabric,
        priceCollective({ model, fabric, name: 'all_gather', members: [3], load: blocks(1, 1e9) }),
      ).seconds,
    ).toBe(0);
  });
});

const curves = (seconds: (ranks: number, nodes: number, bytes: number) => number | undefined): CollectiveCurves => ({
  seconds(name, { ranks, nodes }, totalBytes) {
    const known = seconds(ranks, nodes, totalBytes);
    return known === undefined ? unknownEstimate(name) : knownEstimate(known, 'interpolated', 'test');
  },
});

describe('measured curves', () => {
  it('decide the time of a balanced collective exactly', () => {
    const model = costModel(
      device,
      exact({ curves: curves((ranks, nodes, bytes) => 1e-5 * ranks * nodes + bytes / 70e9) }),
    );
    for (const algorithm of ['direct', 'ring'] as const) {
      const both = costModel(device, { curves: model.curves, inputs: { algorithm } });
      const gather = collectiveSeconds(
        fabric,
        priceCollective({ model: both, fabric, name: 'all_gather', members: tp, load: blocks(8, 1e6) }),
      );
      expect(gather.seconds).toBeCloseTo(8e-5 + 8e6 / 70e9, 12);
      expect(gather.basis).toBe('interpolated');
      const exchange = collectiveSeconds(
        fabric,
        priceCollective({ model: both, fabric, name: 'all_to_all', members: [0, 8], load: pairs(2, 1e6) }),
      );
      expect(exchange.seconds).toBeCloseTo(4e-5 + 2e6 / 70e9, 12);
    }
  });

  it('decide the time of every collective, in both directions of a pair and in one', () => {
    const model = costModel(device, exact({ curves: curves((_ranks, _nodes, bytes) => 2e-5 + bytes / 7e9) }));
    for (const name of ['all_gather', 'reduce_scatter', 'all_reduce'] as const) {
      const priced = priceCollective({ model, fabric, name, members: tp, load: blocks(8, 5e5) });
      expect(collectiveSeconds(fabric, priced).seconds).toBeCloseTo(2e-5 + 4e6 / 7e9, 12);
    }
    const whole = priceCollective({ model, fabric, name: 'broadcast', members: tp, load: blocks(8, 4e6) });
    expect(collectiveSeconds(fabric, whole).seconds).toBeCloseTo(2e-5 + 4e6 / 7e9, 12);
    const sent = { kind: 'pairs', bytes: Float64Array.of(0, 4e6, 0, 0) } as const;
    const priced = priceCollective({ model, fabric, name: 'send', members: [0, 8], load: sent });
    expect(collectiveSeconds(fabric, priced).seconds).toBeCloseTo(2e-5 + 4e6 / 7e9, 12);
  });

  it('leave skew to the ports', () => {
    const model = costModel(device, exact({ curves: curves((_r, _n, bytes) => bytes / 10e9) }));
    const load = pairs(8, 1e6);
    load.bytes.fill(4e6, 0, 8);
    const skewed = collectiveSeconds(fabric, priceCollective({ model, fabric, name: 'all_to_all', members: tp, load }));
    const even = collectiveSeconds(
      fabric,
      priceCollective({ model, fabric, name: 'all_to_all', members: tp, load: pairs(8, 4e6) }),
    );
    // rank 0 sends as much as in the even exchange, nobody else does
    expect(skewed.portSeconds).toBeCloseTo(even.portSeconds, 12);
    expect(skewed.seconds).toBeCloseTo(32e6 / 10e9, 12);
  });

  it('fall back to the cluster file when they do not know, and say so', () => {
    const model = costModel(device, exact({ curves: curves(() => undefined) }));
    expect(priceCollective({ model, fabric, name: 'all_gather', members: tp, load: blocks(8, 1e6) }).basis).toBe(
      'datasheet',
    );
  });
});

describe('kernels', () => {
  const one = { name: 'k', rows: 1, parts: [] };

  it('take the larger of compute and memory time at the stated efficiency', () => {
    const model = costModel(device, {
      inputs: { gemmEfficiency: 0.5, attentionEfficiency: 0.25, memoryEfficiency: 0.8, kernelOverheadSeconds: 1e-6 },
    });
    expect(kernelSeconds(model, { ...one, kind: 'gemm', flops: 156e9, bytes: 1 })).toMatchObject({
      known: true,
      basis: 'datasheet',
    });
    const seconds = (kind: 'gemm' | 'attention' | 'memory', flops: number, bytes: number): number => {
      const price = kernelSeconds(model, { ...one, kind, flops, bytes });
      return price.known ? price.seconds : NaN;
    };
    expect(seconds('gemm', 156e9, 1)).toBeCloseTo(1e-3 + 1e-6, 12);
    expect(seconds('attention', 78e9, 1)).toBeCloseTo(1e-3 + 1e-6, 12);
    expect(seconds('memory', 0, 1.6e9)).toBeCloseTo(1e-3 + 1e-6, 12);
    expect(seconds('gemm', 156e9, 3.2e9)).toBeCloseTo(2e-3 + 1e-6, 12);
  });

  it('use measured rates when there are any', () => {
    const kernels = new Map([['experts', { flopsPerSecond: 1e12, bytesPerSecond: 1e9, overheadSeconds: 1e-3 }]]);
    const price = kernelSeconds(costModel(device, { kernels }), {
      ...one,
      name: 'experts',
      kind: 'gemm',
      flops: 2e12,
      bytes: 1e9,
    });
    expect(price).toMatchObject({ seconds: 2.001, basis: 'fitted' });
  });

  it('are unknown rather than invented', () => {
    const model = costModel(device, { inputs: { computeType: 'fp8' } });
    const unknown = { known: false, missing: [expect.stringMatching(/peak fp8 FLOP\/s of A800/u)] };
    const heads = { heads: 1, sequence: 1, keyDim: 1, valueDim: 1 };
    for (const part of [
      { kind: 'product', columns: 1, depth: 1 },
      { kind: 'attention', ...heads },
      { kind: 'attentionBackward', ...heads },
    ] as const)
      expect(kernelSeconds(model, { ...one, kind: 'gemm', flops: 1, bytes: 1, parts: [part] })).toMatchObject(unknown);
    const copy = { kind: 'memory', flops: 0, bytes: 1, parts: [{ kind: 'copy', bytesPerRow: 1 }] } as const;
    expect(kernelSeconds(model, { ...one, ...copy })).toMatchObject({ known: true });
    expect(kernelSeconds(model, { ...one, ...copy, parts: [] })).toMatchObject({
      known: false,
      missing: ['the shape of kernel k'],
    });
  });
});

describe('inputs', () => {
  it('are all shown, with where they come from', () => {
    const shown = describeCostModel(
      costModel(device, { inputs: { hostOverheadSeconds: 1e-6 }, inputSource: 'run.yaml' }),
    );
    const byShape = ['gemmEfficiency', 'attentionEfficiency', 'memoryEfficiency'];
    expect(shown.map((each) => each.name).sort()).toEqual(
      [...Object.keys(costModel(device).inputs), ...byShape].sort(),
    );
    expect(shown.find((each) => each.name === 'gemmEfficiency')).toMatchObject({ value: 'fitted' });
    expect(shown.find((each) => each.name === 'hostOverheadSeconds')).toMatchObject({
      value: '0.000001',
      source: 'run.yaml',
    });
    for (const each of shown) expect(each.source).not.toBe('');
  });

  it('suit a CPU rank without multiprocessors', () => {
    const inputs = costModel({ ...device, multiprocessors: undefined }).inputs;
    expect(inputs).toMatchObject({ multiprocessorsPerCollective: 0, hostRunsKernels: true });
  });

  it('are refused outside their range', () => {
    expect(() => costModel(device, { inputs: { gemmEfficiency: 1.2 } })).toThrow(/gemmEfficiency is 1.2/u);
    expect(() => costModel(device, { inputs: { hostOverheadSeconds: -1 } })).toThrow(/hostOverheadSeconds is -1/u);
    expect(() => costModel(device, { inputs: { multiprocessorsPerCollective: 108 } })).toThrow(/108 of the 108/u);
  });

  it('rank bases from measured to datasheet', () => {
    expect(weakestBasis(['measured', 'fitted', 'interpolated'])).toBe('fitted');
    expect(weakestBasis(['datasheet', 'measured'])).toBe('datasheet');
  });
});
