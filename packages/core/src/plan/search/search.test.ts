import { describe, expect, it } from 'vitest';
import { getCluster, type Cluster } from '../../cluster/index.js';
import type { RunSetting } from '../../estimate/index.js';
import { getModel } from '../../model/index.js';
import { InputError, maxOf, minOf, Random } from '../../units/index.js';
import { parseAllowed } from '../space/bounds.js';
import { spacePoints } from '../space/climb.js';
import type { PlanProblem } from '../space/problem.js';
import { bySharing, optionsOf } from './options.js';
import { everySetting, randomSettings } from './random-settings.js';
import { Search, type SearchResult } from './search.js';
import { EstimateModel } from './step-model.js';

const gibi = 2 ** 30;

/** A cluster whose devices have so much memory: where it is short, memory decides. */
function clusterOf(name: string, gibibytes?: number): Cluster {
  const cluster = getCluster(name);
  if (gibibytes === undefined) return cluster;
  return { ...cluster, device: { ...cluster.device, memoryBytes: gibibytes * gibi } };
}

function problem(given: Pick<PlanProblem, 'model' | 'cluster'> & Partial<PlanProblem>): PlanProblem {
  const rest = { fixed: {}, precision: 'bf16', states: 'mixed', stack: 'graphs', imbalance: 1 } as const;
  return { sequence: 4096, globalBatch: 32, bounds: {}, ...rest, ...given };
}

function searched(asked: PlanProblem): SearchResult {
  const search = new Search(asked, new EstimateModel());
  for (const { done } of search.run()) expect(done).toBeLessThanOrEqual(1);
  return search.result;
}

/** Whether one recomputes all that the other does, and more. */
const frees = (more: RunSetting['recompute'], less: RunSetting['recompute']): boolean =>
  less === 'none' ||
  more === 'full' ||
  (typeof more !== 'string' &&
    typeof less !== 'string' &&
    less.every((module) => more.includes(module) || (module === 'moe_act' && more.includes('moe'))));

const short = (name: string, layers: number) => getModel(`${name} truncated to ${layers} layers`);

describe('the search of a plan', () => {
  it.each([
    ['memory is plenty', short('mixtral-8x7b', 4), clusterOf('h100-1x8'), undefined],
    ['memory is short', short('mixtral-8x7b', 4), clusterOf('h100-1x8', 20), undefined],
    ['memory is very short', short('qwen3-30b-a3b', 6), clusterOf('h100-2x4', 17), undefined],
    ['there are dense layers and latent attention', short('deepseek-v2', 4), clusterOf('h100-2x4', 40), undefined],
    ['Megatron runs it', short('mixtral-8x7b', 4), clusterOf('h100-1x8', 24), 'megatron'],
  ] as const)('is that of trying everything, where %s', (_, model, cluster, framework) => {
    const asked = problem({ model, cluster, globalBatch: 4, ...(framework === undefined ? {} : { framework }) });
    const prices = new EstimateModel();
    let [settings, fastest, fitting] = [0, Infinity, 0];
    for (const setting of everySetting(asked)) {
      settings += 1;
      const seconds = prices.seconds(setting);
      if (prices.memoryBytes(setting) > cluster.device.memoryBytes) continue;
      fitting += 1;
      fastest = Math.min(fastest, seconds);
    }
    const { best, counts, complete } = searched(asked);
    expect(complete).toBe(true);
    expect(best?.seconds).toBe(fastest);
    expect(counts.represented).toBe(settings);
    expect(counts.prunedByMemory + counts.prunedByTime + counts.priced).toBe(settings);
    expect(counts.priced).toBeLessThan(settings / 2);
    expect(fitting).toBeGreaterThan(100);
  });

  it('is not beaten by 10,000 random settings that fit', () => {
    const asked = problem({ model: getModel('qwen3-30b-a3b'), cluster: clusterOf('h100-4x8'), globalBatch: 256 });
    const { best } = searched(asked);
    const prices = new EstimateModel();
    const random = new Random(17);
    let [tried, fastest] = [0, Infinity];
    while (tried < 10_000)
      for (const setting of randomSettings(asked, 5000, random)) {
        if (prices.memoryBytes(setting) > 80 * gibi) continue;
        fastest = Math.min(fastest, prices.seconds(setting));
        tried += 1;
      }
    expect(best?.seconds).toBeLessThanOrEqual(fastest);
  });

  it.each(['mixtral-8x7b', 'deepseek-v2', 'llama-3-8b'])(
    'counts on less memory with every step of recomputation, which is so: %s',
    (name) => {
      const asked = problem({ model: getModel(name), cluster: clusterOf('h100-4x8'), globalBatch: 64 });
      const prices = new EstimateModel();
      const [point] = [...spacePoints(asked)].slice(-1);
      const ladder = point === undefined ? [] : optionsOf(asked, point).keepings;
      const recomputes = bySharing(ladder)[0]?.map(({ recompute }) => recompute) ?? [];
      expect(recomputes.length).toBeGreaterThan(3);
      for (const setting of randomSettings(asked, 100, new Random(3))) {
        const bytes = recomputes.map((recompute) => prices.memoryBytes({ ...setting, recompute }));
        const [most, full] = bytes.slice(-2);
        expect(full).toBeLessThanOrEqual(most ?? 0);
        for (const [index, one] of recomputes.entries()) {
          const freeing = bytes.filter((_, other) => frees(recomputes[other] ?? one, one));
          expect(maxOf([...freeing, 0])).toBeLessThanOrEqual(bytes[index] ?? 0);
        }
        // The largest set of modules frees most: the search asks it alone.
        expect(minOf(bytes.slice(0, -1))).toBe(most);
      }
    },
  );

  it('keeps to what is fixed', () => {
    const { best } = searched(
      problem({
        model: short('mixtral-8x7b', 8),
        cluster: clusterOf('h100-2x8'),
        bounds: { tp: parseAllowed('4'), pp: parseAllowed('2..4') },
        fixed: { sharing: 'fsdp', recompute: 'full', dispatcher: 'all_to_all', schedule: '1f1b' },
      }),
    );
    expect(best?.setting.layout.tp).toBe(4);
    expect(best?.setting.layout.pp).toBeGreaterThan(1);
    expect(best?.setting).toMatchObject({ sharing: 'fsdp', recompute: 'full', schedule: '1f1b' });
  });

  it('ends with what it has when it is left', () => {
    const search = new Search(
      problem({ model: getModel('mixtral-8x7b'), cluster: clusterOf('h100-8x8') }),
      new EstimateModel(),
    );
    for (const { best } of search.run()) if (best !== undefined) break;
    expect(search.result.complete).toBe(false);
    expect(search.result.best).toBeDefined();
  });

  it('finds nothing where nothing fits, and says why where nothing is legal', () => {
    const tight = problem({ model: getModel('deepseek-v3'), cluster: clusterOf('h100-1x8') });
    expect(searched(tight).best).toBeUndefined();
    const odd = problem({
      model: getModel('mixtral-8x7b'),
      cluster: clusterOf('h100-1x8'),
      bounds: { ep: parseAllowed('3') },
    });
    expect(() => [...new Search(odd, new EstimateModel()).run()]).toThrow(InputError);
  });

  it('takes weight shards of any size that ranks divide into, and says so where none do', () => {
    const fixed = { weightShards: { dense: 16, expert: 1 } };
    const asked = problem({ model: short('mixtral-8x7b', 4), cluster: clusterOf('h100-2x8'), fixed });
    expect(searched(asked).best?.setting).toMatchObject(fixed);
    const odd = new Search({ ...asked, fixed: { weightShards: { dense: 3, expert: 1 } } }, new EstimateModel());
    expect(() => odd.run().next()).toThrow(expect.objectContaining({ path: 'weightShards' }));
  });

  it('leaves a precision what it has alone where there are more to choose from', () => {
    const alone = problem({
      model: short('mixtral-8x7b', 4),
      cluster: clusterOf('b200-1x8'),
      globalBatch: 8,
      bounds: { tp: parseAllowed('1'), pp: parseAllowed('1'), cp: parseAllowed('1') },
    });
    const both = [...everySetting({ ...alone, precisions: ['bf16', 'mxfp8'] })];
    const sharded = both.filter(({ weightShards }) => weightShards !== undefined);
    expect(both.filter(({ precision }) => precision === 'bf16')).toEqual([...everySetting(alone)]);
    expect(new Set(sharded.map(({ precision }) => precision))).toEqual(new Set(['bf16']));
  });

  it('shows plans of several kinds, none faster than the best', () => {
    const { best, others } = searched(problem({ model: getModel('mixtral-8x7b'), cluster: clusterOf('h100-2x8') }));
    expect(others.length).toBeGreaterThan(2);
    const seconds = others.map((one) => one.seconds);
    expect(seconds).toEqual([...seconds].sort((a, b) => a - b));
    expect(seconds[0]).toBeGreaterThanOrEqual(best?.seconds ?? Infinity);
  });
});
