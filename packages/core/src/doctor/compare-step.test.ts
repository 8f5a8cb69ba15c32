import { describe, expect, it } from 'vitest';
import { generateTraces, plainJob } from '../../testing/profiles/kineto-generator.js';
import { getCluster } from '../cluster/index.js';
import { estimateStep, runSetting, type RunSetting } from '../estimate/index.js';
import { resolveLayout } from '../layout/index.js';
import { getModel } from '../model/index.js';
import { KinetoReader, reportProfiles, type CommunicationRow, type ProfileReport } from '../profiles/index.js';
import { Random } from '../units/index.js';
import { compareStep, withExpertBytes } from './compare-step.js';
import { comparedDegrees, degreeOfRow } from './degree-of-row.js';

const setting: RunSetting = runSetting({
  model: getModel('qwen3-30b-a3b'),
  cluster: getCluster('h100-1x8'),
  layout: resolveLayout({ tp: 2, ep: 8, etp: 1, sequenceParallel: true }, 8),
  sequence: 4096,
  microBatch: 1,
  globalBatch: 32,
});

const row = (change: Partial<CommunicationRow>): CommunicationRow => ({
  op: 'all_reduce',
  library: 'NCCL',
  label: '',
  calls: 1,
  seconds: 0,
  matchedShare: 0,
  ...change,
});

/** A report of `steps` steps that went exactly as predicted. */
function asPredicted(steps: number): ProfileReport {
  const { parts, seconds } = estimateStep(setting);
  const bare = estimateStep({ ...setting, overlap: { tp: false, ep: false, dp: false, pp: false } }).parts;
  const rows = comparedDegrees.map((degree) =>
    row({ label: degree, exposedSeconds: parts[degree] * steps, seconds: bare[degree] * steps }),
  );
  const exposed = comparedDegrees.reduce((sum, degree) => sum + parts[degree], 0);
  const computing = parts.gemm + parts.grouped + parts.attention + parts.memory + parts.optimizer;
  const rank = {
    rank: 0,
    file: 't.json',
    seconds: seconds * steps,
    computeSeconds: computing * steps,
    communicationSeconds: exposed * steps,
    exposedSeconds: exposed * steps,
    idleSeconds: (parts.bubble + parts.host + parts.straggler) * steps,
  };
  return { ranks: [rank], rows, notes: [] };
}

describe('compareStep', () => {
  it('finds no gap in a step that went as predicted, of however many steps', () => {
    for (const steps of [1, 3]) {
      const { parts, predicted, measured, unassigned } = compareStep(asPredicted(steps), setting, steps);
      expect(measured).toBeCloseTo(predicted, 12);
      expect(unassigned).toBe(0);
      expect(parts.map(({ part }) => part).sort()).toEqual(expect.arrayContaining(['computing', 'ep', 'idle', 'tp']));
      for (const { predicted: expected, measured: seen, predictedInAll, measuredInAll } of parts) {
        expect(seen).toBeCloseTo(expected, 12);
        expect(measuredInAll ?? 0).toBeCloseTo(predictedInAll ?? 0, 12);
      }
    }
  });

  it('puts first what takes longest beyond the prediction', () => {
    const { rows, ranks, notes } = asPredicted(1);
    const late = rows.map((one) => (one.label === 'ep' ? { ...one, exposedSeconds: 10 } : one));
    const slow = ranks.map((one) => ({ ...one, exposedSeconds: one.exposedSeconds + 10 }));
    const [first] = compareStep({ rows: late, ranks: slow, notes }, setting, 1).parts;
    expect(first).toMatchObject({ part: 'ep', measured: 10 });
  });

  it('reads generated traces: computing and exposed time of all ranks are those of the truth', () => {
    const traces = generateTraces({ ...plainJob, layers: 2 });
    const profiles = traces.map(({ text }, rank) => {
      const reader = new KinetoReader(`t${rank}.json`);
      reader.push(text);
      return reader.end();
    });
    const report = reportProfiles(profiles);
    const { parts, unassigned } = compareStep(report, setting, report.steps ?? 1);
    const mean = (read: (truth: (typeof traces)[number]['truth']) => number): number =>
      traces.reduce((sum, { truth }) => sum + read(truth), 0) / traces.length / 2;
    const of = (name: string): number => parts.find(({ part }) => part === name)?.measured ?? 0;
    expect(of('computing')).toBeCloseTo(mean(({ computeNs }) => computeNs) * 1e-9, 9);
    const exposed = comparedDegrees.reduce((sum, degree) => sum + of(degree), 0) + unassigned;
    // rows that ran beside one another share what nothing hid; what only some ranks did is a mean of those
    expect(exposed).toBeCloseTo(mean(({ exposedNs }) => exposedNs) * 1e-9, 9);
    expect(of('tp')).toBeGreaterThan(0);
    expect(of('ep')).toBeGreaterThan(0);
  });
});

it.each([
  ['by the name of the group', row({ label: 'EXPERT_MODEL_PARALLEL_GROUP', ranks: 8 }), 'ep'],
  ['by the name, of experts that are replicated', row({ label: 'EXPERT_DATA_PARALLEL_GROUP', ranks: 2 }), 'dp'],
  ['by the kernel', row({ op: 'combine', library: 'DeepEP' }), 'ep'],
  ['by the ranks of tensor parallelism', row({ op: 'all_gather', ranks: 2, stride: 1 }), 'tp'],
  ['by the ranks of data parallelism', row({ ranks: 4, stride: 2 }), 'dp'],
  ['by the ranks of the exchange', row({ op: 'all_to_all', ranks: 8, stride: 1 }), 'ep'],
  ['not at all', row({ ranks: 3, stride: 1 }), undefined],
])('a row belongs to a degree %s', (_, given, degree) => {
  expect(degreeOfRow(given, setting.layout)).toBe(degree);
});

it("the bytes of DeepEP's kernels are those of drawn tokens: a copy for each rank with an expert of theirs", () => {
  const { model, layout, microBatch, sequence } = setting;
  const [tokens, each] = [(microBatch * sequence) / layout.tp, model.experts / layout.ep];
  const random = new Random(5);
  let copies = 0;
  for (let token = 0; token < tokens; token++) {
    const picked = new Set<number>();
    while (picked.size < model.topK) picked.add(random.integer(model.experts));
    const ranks = new Set([...picked].map((expert) => Math.floor(expert / each)));
    // rank 0's own stay where they are
    copies += ranks.size - (ranks.has(0) ? 1 : 0);
  }
  const [found] = withExpertBytes([row({ op: 'dispatch', library: 'DeepEP', calls: 6, seconds: 0.012 })], setting);
  const drawn = 6 * copies * model.hiddenSize * 2;
  expect(Math.abs((found?.sentBytes ?? 0) / drawn - 1)).toBeLessThan(0.01);
  expect(found?.busBytesPerSecond).toBeCloseTo((found?.sentBytes ?? 0) / 0.012, 0);
});
