/** What the page answers is what the command prints: both ask core the same question. */
import { EstimateModel, getCluster, getModel, maxOf, planDocument, planProblem, Search } from '@monta/core';
import { describe, expect, it } from 'vitest';
import { shownError } from '../base/shown-error.js';
import { readSubject } from '../subject/subject.js';
import { PlanQuest } from './answer.js';
import { exportAnswer } from './export-answer.js';
import { readQuestion } from './question.js';
import { scriptAnswer } from './script-answer.js';

const small = { model: 'mixtral-8x7b', cluster: 'h100-2x8' };
const bounded = { ...small, sequence: '8192', framework: 'megatron', pp: '1', tp: '2,4' };

async function questOf(fields: Readonly<Record<string, string>>): Promise<PlanQuest> {
  const asked = { fields, files: {} };
  const quest = new PlanQuest(readQuestion(asked, await readSubject(asked)));
  for (const _ of quest.run());
  return quest;
}

/** The complaint about some fields. */
async function complaint(fields: Readonly<Record<string, string>>): Promise<ReturnType<typeof shownError>> {
  try {
    (await questOf(fields)).answer();
  } catch (error) {
    return shownError(error);
  }
  throw new Error('no complaint');
}

const subject = await readSubject({ fields: small, files: {} });

describe('a plan of the page', async () => {
  const quest = await questOf(bounded);

  it('is the plan of the search', () => {
    const problem = planProblem({
      model: getModel(small.model),
      cluster: getCluster(small.cluster),
      sequence: 8192,
      framework: 'megatron',
      bounds: { pp: { min: 1, max: 1 }, tp: { min: 2, max: 4, values: [2, 4] } },
    });
    const search = new Search(problem, new EstimateModel());
    for (const _ of search.run());
    const { result } = search;
    const { best } = result;
    if (best === undefined) throw new Error('nothing fits');
    expect(quest.answer().document).toEqual(planDocument(problem, best, result, small));
  });

  it('has bars that add up to the memory of its row, and every rank once', () => {
    const [best] = quest.plans;
    for (const index of quest.plans.keys()) {
      const { bars, grid, memoryParts } = quest.detail(index);
      for (const { parts, totalBytes } of bars) {
        expect(parts.length).toBe(memoryParts.length);
        expect(parts.reduce((sum, one) => sum + one, 0)).toBeCloseTo(totalBytes, -2);
      }
      expect(grid.ranks.map(({ rank }) => rank)).toEqual([...Array(16).keys()]);
    }
    expect(maxOf(quest.detail(0).bars.map(({ totalBytes }) => totalBytes))).toBeCloseTo(best?.memoryBytes ?? 0, -2);
  });

  it('has a bar of the memory of its row where devices hold two stages', () => {
    const asked = readQuestion({ fields: small, files: {} }, subject);
    const { problem } = asked;
    const bounds = { pp: { min: 2, max: 2 }, microBatch: { min: 1, max: 1 } };
    const dual = new PlanQuest({ ...asked, problem: { ...problem, bounds, fixed: { schedule: 'dualpipe-v' } } });
    for (const _ of dual.run());
    const bars = dual.detail(0).bars.map(({ totalBytes }) => totalBytes);
    expect(dual.plans[0]?.setting.schedule).toBe('dualpipe-v');
    expect(bars).toEqual([dual.plans[0]?.memoryBytes]);
  });

  it('reads its own export back as the same degrees', () => {
    const { text } = exportAnswer(quest, 0, 'megatron');
    const { layout } = quest.plans[0]?.setting ?? {};
    expect(text).toContain(`--tensor-model-parallel-size ${layout?.tp}`);
    expect(text).toContain(`--expert-model-parallel-size ${layout?.ep}`);
    expect(scriptAnswer(text, subject).findings).toEqual([]);
  });
});

describe('complaints stand at their input', () => {
  it.each([
    ['model', { model: 'mixtral-8x7x' }],
    ['cluster', { cluster: 'h100' }],
    ['sequence', { sequence: '0' }],
    ['tp', { tp: '0..2' }],
    ['framework', { framework: 'jax' }],
  ])('%s', async (field, fields) => {
    expect((await complaint({ ...small, ...fields })).field).toBe(field);
  });

  it('names the nearest that fits where nothing does', async () => {
    const { message, hint } = await complaint({ model: 'deepseek-v3', cluster: 'h100-2x8' });
    expect(message).toContain('fits on');
    expect(hint).toContain('the nearest that fits');
  });

  it('says what a script lacks', () => {
    expect(() => scriptAnswer('echo hello', subject)).toThrow('no training run');
  });
});
