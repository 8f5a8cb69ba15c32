/**
 * Experts balanced by their selection bias on real ranks: picks are counted over all of them and all micro-batches, and
 * every rank, layout and dispatcher has the same biases.
 */
import {
  allHalves,
  maxOf,
  minOf,
  parameters,
  unsupportedStrategy,
  type Layout,
  type MoeModel,
  type StepShape,
} from '@monta/core';
import { describe, expect, it } from 'vitest';
import { caseTensor, type CaseResult, type RankCase } from '../../testing/execute/multi-rank-data.js';
import {
  aloneCase,
  casesOf,
  deepseek,
  glm,
  layoutOf,
  rankCase,
  run,
  strategyOf,
  twinKey,
  type Named,
} from '../../testing/execute/rank-cases.js';
import { fromReference } from '../../testing/execute/lone-rank.js';
import { parameterShapes } from '../../testing/transformer/reference-parameters.js';
import { referenceStep } from '../../testing/transformer/reference.js';

const rate = 0.01;
const optimizer = { learningRate: 1e-3, beta1: 0.9, beta2: 0.95, epsilon: 1e-6, weightDecay: 0.1, maxNorm: 0.5 };
const on = (ranksPerNode: number, layout: Layout): Layout => ({ ...layout, ranksPerNode });
const isBias = (name: string): boolean => name.endsWith('.e_score_correction_bias');

/** Every dispatcher that serves the layout, one after the other with the chunks of either pass changing. */
const everyHalf = allHalves().map(({ dispatch, combine }, i) =>
  strategyOf(dispatch, combine, 1 + (i % 2), 2 - (i % 2)),
);

function balanced(layout: Layout, model: MoeModel, steps: number, changes: Partial<StepShape> = {}): Named[] {
  const serves = everyHalf.filter((strategy) => unsupportedStrategy(strategy, { layout }) === undefined);
  // Mirrored ones, and of the mixed every tenth.
  const taken = serves.filter(({ dispatch, combine }, i) => dispatch === combine || i % 10 === 0);
  const step = { model, microBatches: 2, selectionBiasRate: rate, ...changes };
  return casesOf(layout, model.name, step, { steps, optimizer }, taken);
}

const biasesOf = ({ weights }: CaseResult) => [...weights].filter(([name]) => isBias(name));

/** By twin: the reference takes longer than the ranks. */
const expectations = new Map<string, [string, Float32Array][]>();

function expectedBiases(given: RankCase): [string, Float32Array][] {
  const key = twinKey(given);
  const known = expectations.get(key) ?? referencedBiases(given);
  expectations.set(key, known);
  return known;
}

/** Biases after a first step, from the experts that the float64 reference picks for all tokens of the job. */
function referencedBiases(given: RankCase): [string, Float32Array][] {
  const { model, layout, sequence } = given.step;
  const list = parameters(model, layout);
  const values = new Map(
    parameterShapes(model).map(({ name, shape }) => [name, new Float64Array(shape.reduce((a, b) => a * b, 1))]),
  );
  for (const { name } of list) fromReference(model, values, name).set(caseTensor(given, list, name));
  const [microBatches = []] = aloneCase(given).batches;
  const ids = Int32Array.from(microBatches.flatMap((one) => [...one.ids]));
  const { routerPicks } = referenceStep(model, values, ids, ids, sequence);
  return list
    .filter(({ name }) => isBias(name))
    .map(({ name, layer }) => {
      const picks = [...(routerPicks.get(layer) ?? [])];
      const bias = caseTensor(given, list, name);
      const mean = picks.length / model.experts;
      const moved = bias.map((value, expert) => {
        const count = picks.filter((pick) => pick === expert).length;
        return value + (count < mean ? rate : count > mean ? -rate : 0);
      });
      return [name, moved];
    });
}

describe('selection biases', () => {
  it('follow the picks that the float64 reference counts', async () => {
    const cases = [
      ...balanced(on(2, layoutOf({ tp: 2, dp: 2, ep: 2 })), deepseek, 1),
      ...balanced(on(2, layoutOf({ tp: 2, dp: 2, ep: 4, etp: 1, sequenceParallel: true })), glm, 1).slice(0, 3),
      ...balanced(on(2, layoutOf({ dp: 4, ep: 2 })), glm, 1, { capacityFactor: 0.6 }).slice(0, 1),
    ].map(rankCase);
    const results = await run(4, cases);
    expect(new Set(cases.map(({ step }) => step.strategy.dispatch)).size).toBeGreaterThan(4);
    for (const [place, given] of cases.entries())
      expect({ name: given.name, biases: biasesOf(results[place]) }).toEqual({
        name: given.name,
        biases: expectedBiases(given),
      });
  });

  it('are the same bits on one rank and on eight', async () => {
    const layout = on(4, layoutOf({ tp: 2, dp: 4, ep: 4, sequenceParallel: true }));
    const cases = balanced(layout, deepseek, 3).slice(-1).map(rankCase);
    const [together, alone] = await Promise.all([run(8, cases), run(1, cases.map(aloneCase))]);
    expect(together.map(biasesOf)).toEqual(alone.map(biasesOf));
    expect(biasesOf(together[0])).not.toEqual([]);
  });

  it('are the same bits on one rank and on two, kept or computed again, after several steps', async () => {
    const layout = on(2, layoutOf({ dp: 2, ep: 2 }));
    const cases = [
      ...balanced(layout, deepseek, 4).slice(0, 2),
      ...balanced(layout, deepseek, 4, { recompute: 'full', inFlight: 2 }).slice(0, 1),
    ].map(rankCase);
    const [together, alone] = await Promise.all([run(2, cases), run(1, cases.map(aloneCase))]);
    for (const [place, { name }] of cases.entries()) {
      expect({ name, biases: biasesOf(together[place]) }).toEqual({ name, biases: biasesOf(alone[place]) });
      // They moved, and some both ways.
      const moves = biasesOf(together[place]).flatMap(([bias, values]) =>
        [...values].map((value, i) => value - caseTensor(cases[place], parameters(deepseek, layout), bias)[i]),
      );
      expect(moves.filter((move) => Math.abs(move) > 3.5 * rate).length).toBeGreaterThan(0);
      expect(minOf(moves)).toBeLessThan(0);
      expect(maxOf(moves)).toBeGreaterThan(0);
    }
  });

  it('stay without a rate, and where the step has no update', async () => {
    const layout = layoutOf({ dp: 2, ep: 2 });
    const [still] = balanced(layout, deepseek, 2, { selectionBiasRate: undefined });
    const [unmoved] = balanced(layout, deepseek, 2);
    // A mean over no targets has no finite gradients.
    const endless = { ...unmoved, more: { ...unmoved.more, targets: 0 } };
    const cases = [still, endless].map(rankCase);
    for (const [place, result] of (await run(2, cases)).entries())
      for (const [name, values] of biasesOf(result))
        expect([...values]).toEqual([...caseTensor(cases[place], parameters(deepseek, layout), name)]);
  });
});
