import { describe, expect, it } from 'vitest';
import { getCluster } from '../../cluster/index.js';
import { evenLayers } from '../../estimate/index.js';
import { resolveLayout } from '../../layout/index.js';
import { getModel, type MoeModel } from '../../model/index.js';
import { InputError } from '../../units/index.js';
import { planProblem as problem } from '../../../testing/plan-problem.js';
import { parseAllowed } from './bounds.js';
import { legalLayouts, spacePoints, whyEmpty } from './climb.js';
import { frameworkNames } from './frameworks.js';
import type { PlanProblem, SpacePoint } from './problem.js';
import { divisorsOf } from './rules.js';

const mixtral = getModel('mixtral-8x7b');
const keyOf = ({ layout, virtualStages, microBatch, layersOfStages: held }: SpacePoint): string => {
  const { tp, cp, pp, dp, etp, ep } = layout;
  const ends = held === undefined ? 'even' : `${held[0]}-${held.at(-1)}`;
  return [tp, cp, pp, dp, etp, ep, virtualStages, microBatch, ends].join(' ');
};

/** Ends with fewer layers than all stages between them, at most four fewer, that are not what balancing gives. */
function unevenEnds(layers: number, stages: number): string[] {
  const upTo = (n: number): number[] => Array.from({ length: n + 1 }, (_, i) => i);
  const even = evenLayers(layers, stages);
  const uneven = upTo(layers).flatMap((first) =>
    upTo(layers).flatMap((last) => {
      const each = stages > 2 ? (layers - first - last) / (stages - 2) : Math.max(first, last);
      const whole = stages > 2 ? Number.isInteger(each) : first + last === layers;
      const ends = [first, last].every((held) => held <= each && held >= each - 4);
      const balanced = first === even[0] && last === even.at(-1);
      return stages > 1 && whole && ends && first >= 1 && !balanced ? [`${first}-${last}`] : [];
    }),
  );
  return ['even', ...uneven];
}

/** What may be said of a split, written down a second time from the constraints, value by value. */
const divides = (part: number, whole: number): boolean => whole % part === 0;

function isLegal({ model, sequence, globalBatch }: PlanProblem, world: number, key: string): boolean {
  const [tp = 0, cp = 0, pp = 0, dp = 0, etp = 0, ep = 0, virtual = 0, microBatch = 0] = key.split(' ').map(Number);
  const { attentionHeads, keyValueHeads, experts, expertFfn, layers } = model;
  const chunk = (stages: number): number => Math.ceil(layers / (pp * stages));
  return (
    tp * cp * pp * dp === world &&
    tp <= 4 &&
    divides(tp, attentionHeads) &&
    (divides(tp, keyValueHeads) || divides(keyValueHeads, tp)) &&
    divides(etp, tp) &&
    divides(etp, expertFfn) &&
    divides(ep, experts) &&
    divides(etp * ep, tp * cp * dp) &&
    divides(cp === 1 ? tp : 2 * cp * tp, sequence) &&
    pp * virtual <= layers &&
    (pp > 1 || virtual === 1) &&
    (virtual === 1 || chunk(virtual) < chunk(virtual - 1)) &&
    divides(dp * microBatch, globalBatch) &&
    runs(virtual, pp, globalBatch / (dp * microBatch))
  );
}

/** Rounds of as many micro-batches as stages; in a V (two stages a device) two for every stage, in any number. */
const runs = (virtual: number, pp: number, microBatches: number): boolean =>
  virtual === 1 || divides(pp, microBatches) || (virtual === 2 && microBatches >= 2 * pp);

function everything(model: MoeModel, world: number, globalBatch: number): string[] {
  const keys: string[] = [];
  const upTo = (n: number): number[] => Array.from({ length: n }, (_, i) => i + 1);
  const degrees = divisorsOf(world);
  for (const tp of degrees)
    for (const cp of degrees)
      for (const pp of degrees)
        for (const dp of degrees) {
          if (tp * cp * pp * dp !== world) continue;
          for (const etp of divisorsOf(tp))
            for (const ep of upTo(model.experts))
              for (const virtual of upTo(model.layers))
                for (const ends of unevenEnds(model.layers, pp * virtual))
                  for (const microBatch of upTo(globalBatch))
                    keys.push([tp, cp, pp, dp, etp, ep, virtual, microBatch, ends].join(' '));
        }
  return keys;
}

describe('the space of layouts', () => {
  it.each([
    ['1x4', 4, 8],
    ['2x4', 6, 12],
  ] as const)('holds what all combinations, tried one by one, leave: %s', (size, layers, globalBatch) => {
    const model: MoeModel = { ...mixtral, layers, moeLayers: Array.from({ length: layers }, () => true) };
    const cluster = getCluster(`h100-${size}`);
    const asked = problem({ model, cluster, globalBatch });
    const world = size === '1x4' ? 4 : 8;
    const points = [...spacePoints(asked)].map(keyOf);
    const expected = everything(model, world, globalBatch).filter((key) => isLegal(asked, world, key));
    expect(new Set(points).size).toBe(points.length);
    expect(points.sort()).toEqual(expected.sort());
    expect(points.length).toBeGreaterThan(50);
  });

  it('fills the devices with every layout, as the reader of layouts does', () => {
    const layouts = legalLayouts(problem());
    for (const layout of layouts) expect(layout).toEqual(resolveLayout({ ...layout }, 16));
    expect(layouts[0]).toMatchObject({ tp: 1, etp: 1 });
    expect(layouts.some(({ tp, etp }) => tp === 8 && etp === 1)).toBe(true);
  });

  it('has the published stages of DeepSeek-V3 beside others, none of which lacks a layer', () => {
    const bounds = { pp: parseAllowed('16'), firstStageLayers: parseAllowed('2..4') };
    const asked = problem({ model: getModel('deepseek-v3'), cluster: getCluster('h800-256x8'), bounds });
    const held = [...spacePoints(asked)].flatMap(({ virtualStages, layersOfStages }) =>
      virtualStages === 1 && layersOfStages !== undefined ? [layersOfStages] : [],
    );
    // 4, fourteen times 4, 1 is what balancing gives.
    expect(new Set(held.map((layers) => `${layers[0]} ${layers[1]} ${layers.at(-1)}`))).toEqual(
      new Set(['2 4 3', '3 4 2']),
    );
    for (const layers of held) expect(layers.reduce((a, b) => a + b, 0)).toBe(61);
  });

  it('keeps to what a person fixes, and what follows from it', () => {
    const bounds = { tp: parseAllowed('2,4'), pp: parseAllowed('2..'), dp: parseAllowed('1..2') };
    const layouts = legalLayouts(problem({ bounds }));
    expect(layouts.length).toBeGreaterThan(10);
    expect(layouts.every(({ tp, pp, dp }) => (tp === 2 || tp === 4) && pp >= 2 && dp <= 2)).toBe(true);
  });

  it.each(frameworkNames)('of %s lies within the whole one', (framework) => {
    const all = new Set([...spacePoints(problem())].map(keyOf));
    const some = [...spacePoints(problem({ framework }))].map(keyOf);
    expect(some.length).toBeGreaterThan(0);
    expect(some.filter((key) => !all.has(key))).toEqual([]);
    expect(some.length === all.size).toBe(framework === 'megatron');
  });

  it.each([
    ['tp', { tp: parseAllowed('3') }, 'no layout of mixtral-8x7b on 16 devices has tp=3', 'tp of 1, 2, 4, 8, 16'],
    ['ep', { ep: parseAllowed('16') }, 'no layout of mixtral-8x7b on 16 devices has ep=16', 'ep of 1, 2, 4, 8'],
    ['microBatch', { dp: parseAllowed('16'), microBatch: parseAllowed('3') }, '', 'microBatch of 1, 2, 4'],
    ['virtualStages', { pp: parseAllowed('2'), virtualStages: parseAllowed('17') }, '', '1, 2, 3, 4, 6, 8, 16'],
  ] as const)('says why there is none: %s', (path, bounds, message, expected) => {
    const asked = problem({ bounds });
    expect([...spacePoints(asked)]).toEqual([]);
    const why = whyEmpty(asked);
    expect(why).toBeInstanceOf(InputError);
    expect(why.path).toBe(path);
    expect(why.message).toContain(message);
    expect(why.expected).toContain(expected);
  });

  it('says why there is none where two bounds contradict each other', () => {
    const bounds = { tp: parseAllowed('8'), pp: parseAllowed('2'), dp: parseAllowed('4') };
    expect(whyEmpty(problem({ bounds })).format()).toContain('dp');
    const batch = problem({
      globalBatch: 7,
      bounds: { tp: parseAllowed('1'), cp: parseAllowed('1'), pp: parseAllowed('1') },
    });
    expect(whyEmpty(batch).message).toContain('16 replicas do not divide 7 sequences');
  });

  it.each(['', '0', '4..2', 'x', '1..x', '2,,4', '1.5'])('refuses %j as a bound', (text) => {
    expect(() => parseAllowed(text)).toThrow(InputError);
  });
});
