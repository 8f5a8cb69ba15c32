import { getCluster, scaledCluster } from '../cluster/index.js';
import { fabricOf } from '../traffic/index.js';
import { collectiveSeconds, costModel, knownEstimate, priceCollective } from './index.js';
import { describe, expect, it } from 'vitest';
import { scaledCurves } from './scaled-curves.js';

describe('scaledCurves', () => {
  const cluster = getCluster('laptop-2x4');
  const [tier] = cluster.tiers;
  if (tier === undefined) throw new Error('a cluster has tiers');
  // What the cluster file itself says of an all_to_all of two ranks in a node: half of the buffer crosses.
  const file = {
    seconds: (_: string, __: unknown, totalBytes: number) =>
      knownEstimate(tier.latencySeconds + totalBytes / 2 / tier.bytesPerSecond, 'measured', 'the cluster file'),
  };

  it('changes nothing when curves say what the slowed cluster says', () => {
    const timeScale = 40;
    const slow = scaledCluster(cluster, timeScale);
    const overheadSeconds = 3e-4;
    const inputs = { collectiveOverheadSeconds: overheadSeconds };
    const load = { kind: 'pairs', bytes: Float64Array.of(0, 1e6, 1e6, 0) } as const;
    const price = (curves?: ReturnType<typeof scaledCurves>) => {
      const fabric = fabricOf(slow);
      const priced = priceCollective({
        model: costModel(slow.device, { inputs, curves }),
        fabric,
        name: 'all_to_all',
        members: [0, 1],
        load,
      });
      return collectiveSeconds(fabric, priced);
    };
    const curves = scaledCurves(file, { volumeShare: 1, timeScale, overheadSeconds });
    const [plain, measured] = [price(), price(curves)];
    expect(measured.seconds).toBeCloseTo(plain.seconds, 9);
    expect(measured.latencySeconds).toBeCloseTo(plain.latencySeconds, 12);
    expect(plain.seconds).toBeCloseTo(
      timeScale * (tier.latencySeconds + 1e6 / tier.bytesPerSecond) + overheadSeconds,
      9,
    );
  });

  it('asks for the full size', () => {
    const curves = scaledCurves(file, { volumeShare: 0.01, timeScale: 3, overheadSeconds: 0 });
    const found = curves.seconds('all_to_all', { ranks: 2, nodes: 1 }, 1000);
    expect(found).toMatchObject({ seconds: 3 * file.seconds('all_to_all', {}, 100_000).seconds });
  });

  it('passes on what is not known', () => {
    const nothing = { seconds: () => ({ known: false as const, missing: ['all of it'] }) };
    const curves = scaledCurves(nothing, { volumeShare: 1, timeScale: 2, overheadSeconds: 0 });
    expect(curves.seconds('all_gather', { ranks: 2, nodes: 1 }, 8)).toEqual({ known: false, missing: ['all of it'] });
  });
});
