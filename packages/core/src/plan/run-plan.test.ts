/** Reasons of a decision: each says what the figures it was decided from say. */
import { describe, expect, it } from 'vitest';
import { getCluster } from '../cluster/index.js';
import { costModel, hostInputs } from '../cost/index.js';
import { parseLayout } from '../layout/index.js';
import { completeModel, modelPresets } from '../model/index.js';
import { namedStrategies, sameSums, strategyLabel, type Overlap, type StepShape } from '../schedule/index.js';
import { chooseDispatch, type Choice } from './choose.js';
import { decisionReasons } from './decision-reasons.js';
import { judgeStrategies, openPlan, settlePlan, type PlannedStrategy, type PlanRequest } from './run-plan.js';
import type { Workload } from './workload.js';

const cluster = getCluster('laptop-2x4');
const workload: Workload = {
  cluster,
  shape: {
    tokens: 1024,
    hiddenSize: 128,
    expertFfn: 256,
    experts: 8,
    topK: 2,
    layout: parseLayout('tp=4,dp=2,ep=2', 8),
    dtype: 'f32',
  },
  routing: { kind: 'uniform' },
  seed: 1,
  model: costModel(cluster.device),
  scope: 'dispatch',
};

function chosen(): Choice {
  const choice = chooseDispatch(workload, { chunkCounts: [1, 2] });
  if (!choice.known) throw new Error(choice.missing.join('; '));
  return choice;
}

const planned = (label: string, seconds: number): PlannedStrategy => ({
  label,
  role: 'chosen',
  strategy: { ...namedStrategies.scattered, chunks: { forward: 1, backward: 1 } },
  overlap: {},
  predicted: {
    known: true,
    seconds,
    tokensPerSecond: 1,
    basis: 'fitted',
    extended: false,
    trace: { kind: 'simulated', source: '', ranks: 1, timeScale: 1, spans: [] },
  },
});

describe('a trial', () => {
  const close = [planned('a', 1), planned('b', 1.01)];
  const measured = [
    [2.2, 2.21, 2.19],
    [2, 2.01, 1.99],
  ];

  it('is won by what runs faster where predictions are equal but for a hair', () => {
    const { tried, fastest } = judgeStrategies(close, measured, 0.2);
    expect(fastest).toBe(1);
    expect(tried.map(({ label }) => label)).toEqual(['a', 'b']);
    expect(tried[1]?.likelySeconds).toBeCloseTo(2, 1);
  });

  it('of nothing decides nothing', () => {
    expect(judgeStrategies([], [], 0.2)).toEqual({ tried: [], fastest: -1 });
  });

  it('is told with its medians, the likeliest first', () => {
    const choice = chosen();
    const { tried } = judgeStrategies(close, measured, 0.2);
    const why = new Map(decisionReasons({ workload, choice, taken: choice, tried }));
    expect(why.get('Trial')).toMatch(/^b 2 s \(predicted 1\.01 s\); a 2\.20 s .*: medians of 3 steps/u);
  });
});

describe('reasons', () => {
  it('name the layer, other layouts, and what was given', () => {
    const choice = chosen();
    const why = new Map(decisionReasons({ workload, choice, taken: choice, tried: [], given: 'sliced' }));
    expect(why.get('Given')).toMatch(/^sliced, by the configuration; the plan would take /u);
    expect(why.get('Layer')).toBe('predicted for the MoE layer of 1,024 tokens a replica, tp 4, ep 2');
    expect(why.get('Layout')).toMatch(/^etp [12], ep [48] \(.*\) would take \d+ % (?:less|more)/u);
    expect(why.has('Trial')).toBe(false);
  });

  it('say of another expert tensor parallel size what choosing with it says', () => {
    const choice = chosen();
    const text = new Map(decisionReasons({ workload, choice, taken: choice, tried: [] })).get('Layout') ?? '';
    const [, etp, share, direction] = /^etp (\d), .* would take (\d+) % (less|more)/u.exec(text) ?? [];
    const asked = { expertTensorParallel: [Number(etp)], chunkCounts: [1, 2, 4], halves: sameSums() };
    const other = chooseDispatch(workload, asked);
    const ratio = (other.known ? other.best.seconds : NaN) / choice.best.seconds;
    expect(Math.abs(ratio - 1) * 100).toBeCloseTo(Number(share), -0.5);
    expect(direction).toBe(ratio < 1 ? 'less' : 'more');
  });
});

describe('a run', () => {
  const model = modelPresets.get('tiny-bytes');
  if (model === undefined) throw new Error('there is no such model');
  const strategy = { ...namedStrategies.scattered, chunks: { forward: 1, backward: 1 } };
  const request: PlanRequest = {
    cluster,
    hostCores: { cores: 2, ranksPerHost: 8 },
    step: {
      model,
      layout: workload.shape.layout,
      sequence: 64,
      sequences: 1,
      microBatches: 1,
      dtype: 'f32',
      strategy,
    },
    seed: 1,
    model: costModel(cluster.device),
    run: { ranks: 8, steps: 100, trialSteps: 3 },
  };

  it('takes what its trials say, and compares it to what people fix', () => {
    const open = openPlan(request);
    expect(open.close.length).toBeGreaterThan(1);
    expect(open.trialSteps).toBe(3);
    const measured = open.close.map((_, place) => Array.from({ length: 3 }, () => (place === 1 ? 0.1 : 1)));
    const plan = settlePlan(open, measured, 0.1);
    expect(plan.chosen.label).toBe(open.close[1]?.label);
    expect(plan.tried.map(({ label }) => label)).toEqual(open.close.map(({ label }) => label));
    expect(plan.compared.map(({ role }) => role)).toContain('baseline');
    expect(plan.compared.map(({ label }) => label)).not.toContain(plan.chosen.label);
  });

  it('takes what a person gave, tries nothing, and says what it would have taken', () => {
    const given = { ...namedStrategies.sliced, chunks: { forward: 2, backward: 1 } };
    const open = openPlan({ ...request, given });
    expect(open.close).toEqual([]);
    const plan = settlePlan(open, [], 0.1);
    expect(plan.chosen.label).toBe(strategyLabel(given));
    expect(plan.reasons[0]?.[0]).toBe('Given');
  });

  it('chooses what of a layer runs beside what, but for what the configuration names', () => {
    const a800 = getCluster('a800-2x2');
    const shape = { name: 'small', hiddenSize: 2048, layers: 1, attentionHeads: 16, vocabSize: 512 };
    const step: StepShape = {
      model: completeModel({ ...shape, experts: 16, topK: 4, expertFfn: 1408 }),
      layout: parseLayout('tp=2,dp=2,ep=2', 4),
      sequence: 4096,
      sequences: 1,
      microBatches: 1,
      dtype: 'bf16',
      strategy,
    };
    // of 108 multiprocessors, taken from the kernels beside a collective
    const held = costModel(a800.device, { inputs: { ...hostInputs(5e-6), multiprocessorsPerCollective: 80 } });
    const planOf = (overlap: Overlap) =>
      openPlan({
        cluster: a800,
        hostCores: { cores: 4, ranksPerHost: 4 },
        step: { ...step, overlap },
        seed: 1,
        model: held,
        run: { ranks: 4, steps: 10 },
      });
    const { choice, planned } = planOf({});
    expect(choice.best.overlap).toEqual({ experts: false });
    expect(planned('chosen', choice.best)).toMatchObject({
      label: expect.stringMatching(/ \(experts apart\)$/u) as unknown,
      overlap: { experts: false },
    });
    expect(planOf({ experts: true }).choice.best.overlap?.experts).not.toBe(false);
  });
});
