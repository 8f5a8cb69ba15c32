import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { halvesName, parseLayout, worldSize, type Strategy } from '@monta/core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { testsOverMpi } from '../../testing/hosts.js';
import { mpiLauncher } from '../launch/index.js';
import { onTwoNodes, verifiedLayouts, verifiedStrategies } from './matrix.js';
import { verify, verifyAll, type Verification } from './verify.js';

const folderOf = (name: string): string => fileURLToPath(new URL(`../../../../fixtures/hf/${name}`, import.meta.url));
const made = mkdtempSync(join(tmpdir(), 'monta-verify-'));
afterAll(() => rmSync(made, { recursive: true }));

interface Steps {
  readonly loss_and_grad_norm: readonly (readonly [loss: number, norm: number])[];
}

/** A family's folder with another trajectory; its other files are those of the family. */
function withSteps(name: string, change: (steps: Steps['loss_and_grad_norm']) => Steps['loss_and_grad_norm']): string {
  const folder = mkdtempSync(join(made, `${name}-`));
  for (const file of readdirSync(folderOf(name)))
    if (file !== 'trajectory.json') symlinkSync(join(folderOf(name), file), join(folder, file));
  const expected = JSON.parse(readFileSync(join(folderOf(name), 'trajectory.json'), 'utf8')) as Steps;
  const steps = change(expected.loss_and_grad_norm);
  writeFileSync(join(folder, 'trajectory.json'), JSON.stringify({ ...expected, loss_and_grad_norm: steps }));
  return folder;
}

const families = ['tiny-mixtral', 'tiny-qwen3-moe', 'tiny-olmoe', 'tiny-qwen2-moe', 'tiny-gpt-oss', 'tiny-deepseek-v3'];

/**
 * Families that the whole matrix is run with, and layouts that the others are: each of their parts is split in one of
 * these.
 */
const most = new Set(['tiny-mixtral', 'tiny-qwen3-moe', 'tiny-olmoe']);
const some = ['tp=1', 'tp=2,sp', 'dp=2,ep=2', 'tp=4', 'tp=2,dp=2,ep=2,sp', 'tp=4,dp=2,ep=2', 'tp=4,dp=2,ep=4,etp=2'];

/** Chunks 1, 2, 3 forward and others backward, spread over the pairs of halves. */
const chunks = [
  { forward: 1, backward: 2 },
  { forward: 2, backward: 3 },
  { forward: 3, backward: 1 },
];

/** Families that a layout is run with. */
const takersOf = (text: string): string[] => families.filter((family) => most.has(family) || some.includes(text));

const strategiesOf = (text: string): Strategy[] => verifiedStrategies(onTwoNodes(text), chunks);

/**
 * Steps of the trajectory that all strategies are followed for. On every layout one is followed to the end, in families
 * by turns.
 */
const fewSteps = 2;
const isFollowed = (family: string, text: string): boolean => {
  const takers = takersOf(text);
  const turns = some.includes(text) ? some : verifiedLayouts;
  return takers[turns.indexOf(text) % takers.length] === family;
};
const shortFolders = new Map(families.map((family) => [family, withSteps(family, (all) => all.slice(0, fewSteps))]));

/**
 * All families on all layouts of one size, in one job of ranks: it is the start of ranks that takes time. The families
 * of a layout share its strategies out among themselves; which of them a family takes, and so its chunks, differs by
 * layout.
 */
const takenBy = (family: string, text: string): Strategy[] => {
  const takers = takersOf(text);
  const turn = takers.indexOf(family) + verifiedLayouts.indexOf(text);
  return strategiesOf(text).filter((_, index) => (index + turn) % takers.length === 0);
};

it('follows a training to the end on every layout, and in every family', () => {
  const followed = verifiedLayouts.map((text) => families.filter((family) => isFollowed(family, text)));
  expect(followed.map(({ length }) => length)).toEqual(verifiedLayouts.map(() => 1));
  expect(new Set(followed.flat())).toEqual(new Set(families));
});

describe.each([1, 2, 4, 8])('verify on %s ranks', (ranks) => {
  const cases = families.flatMap((family) =>
    (most.has(family) ? verifiedLayouts : some)
      .filter((text) => worldSize(parseLayout(text)) === ranks)
      .map((text) => ({ family, text, strategies: takenBy(family, text) })),
  );
  let results: readonly Verification[][];
  beforeAll(async () => {
    const both = await verifyAll(
      cases.flatMap(({ family, text, strategies }) => {
        const long = isFollowed(family, text) ? 1 : 0;
        return [
          { folder: folderOf(family), layout: onTwoNodes(text), strategies: strategies.slice(0, long) },
          { folder: shortFolders.get(family) ?? '', layout: onTwoNodes(text), strategies: strategies.slice(long) },
        ];
      }),
    );
    results = cases.map((_, index) => both.slice(2 * index, 2 * index + 2).flat());
  });

  it('takes every dispatcher on every layout', () => {
    for (const text of new Set(cases.map((one) => one.text))) {
      const taken = cases.flatMap((one) => (one.text === text ? one.strategies : []));
      expect(new Set(taken.map(halvesName))).toEqual(new Set(strategiesOf(text).map(halvesName)));
    }
  });

  it.each(cases.map((one, place) => ({ ...one, place })))(
    '$family, $text, its share of the dispatchers',
    ({ text, strategies, place }) => {
      const verified = results[place] ?? [];
      expect(verified.map(({ strategy }) => strategy)).toEqual(strategies);
      expect(strategies.length).toBeGreaterThan(0);
      for (const { strategy, quantities } of verified) {
        for (const { quantity, error, tolerance, where } of quantities)
          expect(error, `${text} ${JSON.stringify(strategy)}: ${quantity} at ${where}`).toBeLessThanOrEqual(tolerance);
        expect(quantities.map(({ quantity }) => quantity)).toEqual([
          'logits',
          'router logits',
          'loss',
          'auxiliary loss',
          'gradients',
          'gradient norm',
          'trajectory',
        ]);
      }
    },
  );
});

/** Folders that families' options made, and a layout of two ranks that splits what is special in each. */
const options = [
  // A part of each head rotated as `rope_parameters` says, not as the key beside it; groups, biases of queries.
  { name: 'tiny-glm4-moe-biased', text: 'tp=2,sp' },
  // As many dense first layers as there are layers: no router at all.
  { name: 'tiny-deepseek-v3-all-dense', text: 'tp=2' },
  // Experts on one layer of five; heads that two ranks do not divide.
  { name: 'tiny-qwen2-moe-mixed', text: 'dp=2,ep=2' },
  // Latent attention beside one group.
  { name: 'tiny-glm4-moe-lite', text: 'tp=2,etp=1,ep=2' },
  // DeepSeek's router beside keys and values of every head, with norms.
  { name: 'tiny-dots1', text: 'tp=2,sp' },
].map((one, turn) => ({ ...one, strategies: strategiesOf(one.text).filter((_, index) => index % 5 === turn) }));

describe('options of families', () => {
  let results: readonly Verification[][];
  beforeAll(async () => {
    const folder = (name: string): string =>
      fileURLToPath(new URL(`../../../../fixtures/hf-options/${name}`, import.meta.url));
    results = await verifyAll(
      options.map(({ name, text, strategies }) => ({ folder: folder(name), layout: onTwoNodes(text), strategies })),
    );
  });

  it.each(options.map((one, place) => ({ ...one, place })))('$name, $text', ({ name, strategies, place }) => {
    const verified = results[place] ?? [];
    expect(verified.map(({ strategy }) => strategy)).toEqual(strategies);
    expect(strategies.length).toBeGreaterThan(0);
    const past = verified.flatMap(({ quantities }) => quantities.filter(({ passed }) => !passed));
    expect(past).toEqual([]);
    for (const { quantities } of verified)
      expect(quantities.map(({ quantity }) => quantity)).toEqual([
        'logits',
        ...(name === 'tiny-deepseek-v3-all-dense' ? [] : ['router logits']),
        'loss',
        'auxiliary loss',
        'gradient norm',
        'trajectory',
      ]);
  });
});

describe.runIf(testsOverMpi)('verify over MPI', () => {
  const jobs = [
    { text: 'tp=2', chunks: { forward: 3, backward: 2 } },
    { text: 'tp=2,dp=2,ep=2,sp', chunks: { forward: 2, backward: 3 } },
  ];
  it.each(jobs)('computes what threads compute, bit for bit, in every family: $text', async ({ text, chunks: of }) => {
    const strategies: Strategy[] = [{ dispatch: 'sliced', combine: 'scattered', chunks: of }];
    const cases = families.map((family) => ({
      folder: shortFolders.get(family) ?? '',
      layout: onTwoNodes(text),
      strategies,
    }));
    const overMpi = await verifyAll(cases, { launcher: mpiLauncher() });
    expect(overMpi.flat().map(({ passed }) => passed)).toEqual(families.map(() => true));
    expect(overMpi).toEqual(await verifyAll(cases));
  });
});

describe('a folder that expects something else', () => {
  it('fails, naming the quantity and where', async () => {
    const folder = withSteps('tiny-olmoe', (all) =>
      all.slice(0, fewSteps).map(([loss, norm], step) => [step === 1 ? loss + 0.01 : loss, norm]),
    );
    const [result] = await verify({
      folder,
      layout: parseLayout('tp=1'),
      strategies: strategiesOf('tp=1').slice(0, 1),
    });
    expect(result?.passed).toBe(false);
    expect(result?.quantities.filter(({ passed }) => !passed)).toMatchObject([
      { quantity: 'trajectory', where: 'loss of step 2' },
    ]);
  });

  it('without expectations is refused', async () => {
    const folder = mkdtempSync(join(made, 'none-'));
    for (const file of ['config.json', 'model.safetensors'])
      cpSync(join(folderOf('tiny-olmoe'), file), join(folder, file));
    await expect(verify({ folder, layout: parseLayout('tp=1'), strategies: strategiesOf('tp=1') })).rejects.toThrow(
      /nothing to verify against/,
    );
  });
});

describe('rows in fp8', () => {
  it('are off by what rounding takes, and pass their own tolerances only', async () => {
    const folder = folderOf('tiny-gpt-oss');
    const [strategy] = strategiesOf('tp=1').filter(({ dispatch }) => dispatch === 'sliced');
    const one = { folder, layout: onTwoNodes('tp=1'), strategies: strategy ? [strategy] : [] };
    const [rounded] = await verify({ ...one, payload: 'fp8' });
    expect(rounded).toMatchObject({ passed: true });
    const logits = rounded?.quantities.find(({ quantity }) => quantity === 'logits');
    // Were nothing rounded, it would be as near as f32.
    expect(logits?.error).toBeGreaterThan(1e-3);
  });
});
