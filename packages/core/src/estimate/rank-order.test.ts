/** Places of groups on domains of links, held against ranks counted one by one. */
import { describe, expect, it } from 'vitest';
import { getCluster } from '../cluster/index.js';
import { resolveLayout, type Layout } from '../layout/index.js';
import { getModel } from '../model/index.js';
import { linksOfCluster } from './links.js';
import { canOrder, nextStage, rankOrders, sharersInDomain, type RankOrder } from './rank-order.js';
import { runSetting } from './run-setting.js';
import { priceStep } from './step-prices.js';
import { stepConstants } from './constants.js';

const layouts = [
  resolveLayout({ tp: 2, dp: 4, pp: 2, ep: 1, etp: 2 }),
  resolveLayout({ tp: 2, cp: 2, dp: 2, pp: 4, ep: 4, etp: 1 }),
  resolveLayout({ tp: 1, cp: 4, dp: 4, pp: 2, ep: 4, etp: 1 }),
  resolveLayout({ tp: 4, dp: 8, pp: 8, ep: 4, etp: 1 }),
  resolveLayout({ tp: 2, dp: 2, pp: 4, ep: 1, etp: 2 }),
];

/** Of each rank: its place in the replica, its replica and its stage. */
function placesOf({ tp, cp, dp, pp }: Layout, order: RankOrder): { place: number; replica: number; stage: number }[] {
  const places = [];
  const [outer, inner] = order === 'dp-pp' ? [pp, dp] : [dp, pp];
  for (let far = 0; far < outer; far++)
    for (let near = 0; near < inner; near++)
      for (let place = 0; place < tp * cp; place++)
        places.push({ place, replica: order === 'dp-pp' ? near : far, stage: order === 'dp-pp' ? far : near });
  return places;
}

describe('the order of replicas and stages', () => {
  it.each(layouts.flatMap((layout) => rankOrders.map((order) => [order, layout] as const)))(
    'puts as many sharers of weights into a domain as counting finds: %s %j',
    (order, layout) => {
      expect(canOrder(layout, order)).toBe(true);
      const links = linksOfCluster(getCluster('h100-32x8'));
      const inDomain = placesOf(layout, order).slice(0, links.domain);
      const dense = inDomain.filter(({ place, stage }) => place % layout.tp === 0 && stage === 0).length;
      expect(sharersInDomain(links, layout, order).dense).toBe(dense);
      const places = placesOf(layout, order);
      const domainOf = (rank: number): number => Math.floor(rank / links.domain);
      const crosses = places.some(({ place, replica, stage }, rank) => {
        const next = places.findIndex(
          (one) => one.place === place && one.replica === replica && one.stage === stage + 1,
        );
        return next >= 0 && domainOf(next) !== domainOf(rank);
      });
      expect(nextStage(links, layout, order) >= links.domain).toBe(crosses);
    },
  );

  it('keeps to layouts whose dense and expert mappings have the same stages', () => {
    expect(canOrder(resolveLayout({ tp: 2, dp: 4, pp: 2, ep: 4, etp: 1 }), 'pp-dp')).toBe(false);
    expect(canOrder(resolveLayout({ tp: 2, dp: 4, pp: 1, etp: 2 }), 'pp-dp')).toBe(false);
  });

  it('brings stages nearer and replicas further apart', () => {
    const setting = runSetting({
      model: getModel('llama-3-8b'),
      cluster: getCluster('h100-4x8'),
      layout: resolveLayout({ tp: 2, dp: 4, pp: 4 }),
      sequence: 8192,
      microBatch: 1,
      globalBatch: 32,
      overlap: { tp: true, ep: false, dp: false, pp: true },
    });
    const [usual, inside] = rankOrders.map((rankOrder) => priceStep({ ...setting, rankOrder }, stepConstants));
    expect(inside?.pp).toBeLessThan(usual?.pp ?? 0);
    expect(inside?.dp).toBeGreaterThan(usual?.dp ?? Infinity);
  });
});
