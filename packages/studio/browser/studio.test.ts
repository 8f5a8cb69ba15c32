/** The pages as people use them, in Chromium. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { kinetoTrace } from './made-trace.js';
import { openPage, root, startStudio } from './studio-page.js';
import { browser, studio, withStudio } from './test-studio.js';

/** A machine that does much besides may be slow. */
const patient = { timeout: 90_000 };

withStudio();
const folder = mkdtempSync(join(tmpdir(), 'monta-studio-'));

afterAll(() => rmSync(folder, { recursive: true }));

const monta = (...parameters: string[]): string =>
  execFileSync(process.execPath, [join(root, 'packages/cli/dist/main.js'), ...parameters], {
    cwd: root,
    encoding: 'utf8',
    maxBuffer: 1 << 28,
  });

describe('the page of plans', () => {
  it.each<Readonly<Record<string, string>>>([
    { model: 'mixtral-8x22b', cluster: 'h100-16x8' },
    { model: 'deepseek-v3', cluster: 'h800-256x8' },
    { model: 'qwen3-30b-a3b', cluster: 'h100-4x8', sequence: '8192', framework: 'megatron' },
  ])('shows the plan that the command prints, to the last digit: $model', async (question) => {
    const { page, faults } = await openPage(
      browser,
      `${studio.address}#/plan?${new URLSearchParams(question).toString()}`,
    );
    await page.getByText('plan.json of the best').waitFor();
    const [download] = await Promise.all([
      page.waitForEvent('download'),
      page.getByText('plan.json of the best').click(),
    ]);
    const shown: unknown = JSON.parse(readFileSync(await download.path(), 'utf8'));
    const flags = Object.entries(question).flatMap(([name, value]) => [`--${name}`, value]);
    expect(shown).toEqual(JSON.parse(monta('plan', ...flags, '--json')));
    expect(faults).toEqual([]);
  });

  it('takes a dropped config.json, and shows a hostile name as text', async () => {
    const { page, faults } = await openPage(browser, `${studio.address}#/plan?cluster=h100-2x8`);
    const config = readFileSync(join(root, 'fixtures/hf/tiny-mixtral/config.json'));
    const name = '<img src=x onerror=alert(1)>.json';
    await page
      .locator('input[type=file][aria-label="or a config.json"]')
      .setInputFiles({ name, mimeType: 'application/json', buffer: config });
    await expect.poll(() => page.getByLabel('model', { exact: true }).inputValue(), patient).toBe(name);
    await page.getByRole('region', { name: 'Table of plans' }).waitFor();
    expect(await page.locator('img').count()).toBe(0);
    expect(faults).toEqual([]);
  });

  it('complains at the input, and says what to do', async () => {
    const { page } = await openPage(browser, `${studio.address}#/plan?model=mixtral-8x7b&cluster=h100-2x8`);
    await page.getByRole('region', { name: 'Table of plans' }).waitFor();
    await page.getByLabel('model', { exact: true }).fill('mixtral-8x7x');
    const alert = page.getByRole('alert');
    await alert.waitFor();
    expect(await alert.innerText()).toContain('did you mean');
    expect(await page.getByLabel('model', { exact: true }).getAttribute('aria-invalid')).toBe('true');
    expect(page.url()).toContain('mixtral-8x7x');
  });

  it('sorts, filters, and exports the plan that is looked at', async () => {
    const { page } = await openPage(
      browser,
      `${studio.address}#/plan?model=mixtral-8x7b&cluster=h100-4x8&framework=megatron`,
    );
    const rows = page.locator('section[aria-label=Plans] tbody tr');
    await rows.first().waitFor();
    const all = await rows.count();
    await page.getByRole('button', { name: 'memory' }).click();
    const memory = await page.locator('section[aria-label=Plans] tbody tr td:last-child').allInnerTexts();
    const gib = memory.map((text) => Number.parseFloat(text));
    expect(gib).toEqual([...gib].sort((a, b) => a - b));
    await page.getByLabel('Show only plans with these words').fill('nothing has these words');
    expect(await rows.count()).toBe(0);
    await page.getByLabel('Show only plans with these words').fill('');
    expect(await rows.count()).toBe(all);
    await page.getByLabel('framework', { exact: true }).last().selectOption('megatron');
    await page.getByLabel('Flags').waitFor();
    expect(await page.getByLabel('Flags').innerText()).toContain('--tensor-model-parallel-size');
  });

  it('checks a script beside the best plan', async () => {
    const { page } = await openPage(browser, `${studio.address}#/plan?model=mixtral-8x7b&cluster=h100-2x8`);
    await page.getByRole('region', { name: 'Table of plans' }).waitFor();
    const script = readFileSync(join(root, 'examples/qwen3-30b.sh'), 'utf8');
    await page.getByLabel('Launch script of Megatron-Core').fill(script);
    await page.getByRole('button', { name: 'check' }).click();
    const found = page.locator('section[aria-label="Launch script"]');
    await found.locator('h3').waitFor();
    expect(await found.locator('h3').innerText()).toContain('pretrain_gpt.py');
  });
});

describe('the page of one layer', () => {
  it('answers a slider, and keeps it in the address', async () => {
    const { page, faults } = await openPage(browser, `${studio.address}#/explore?model=2x70b&cluster=a800-2x8`);
    const verdict = page.locator('.verdict');
    await verdict.waitFor();
    const before = await verdict.innerText();
    await page.getByLabel('network, times its own').fill('6');
    await expect.poll(() => verdict.innerText(), patient).not.toBe(before);
    expect(page.url()).toContain('network=8');
    await page.locator('.map td[class*=b-s]').nth(27).waitFor();
    expect(faults).toEqual([]);
  });
});

describe('the page of timelines', () => {
  it('opens a trace of the simulator, and finds an operation by its name', async () => {
    const path = join(folder, 'trace.json');
    const layer = ['--model', '2x70b', '--cluster', 'a800-2x8', '--layout', 'tp=8,dp=2,ep=2'];
    monta('simulate', ...layer, '--perfetto', path);
    const served = await startStudio(path);
    try {
      const { page, faults } = await openPage(browser, served.address);
      await page.getByRole('heading', { name: 'opened' }).waitFor();
      const card = page.locator('section[aria-label=Timeline]').first();
      await card.getByLabel('Find an operation').fill('all_gather');
      await card.getByLabel('Find an operation').press('Enter');
      await expect.poll(() => card.locator('.said').innerText(), patient).toContain('all_gather');
      expect(faults).toEqual([]);
    } finally {
      served.stop();
    }
  });
});

describe('a training that goes on', () => {
  it('is followed', async () => {
    const run = mkdtempSync(join(folder, 'run-'));
    const step = (number: number, loss: number): string =>
      `${JSON.stringify({ kind: 'step', step: number, loss, seconds: 0.5, tokens: 64, expertShares: [0.75, 0.25] })}\n`;
    writeFileSync(join(run, 'metrics.jsonl'), step(1, 5.5));
    const served = await startStudio(run);
    try {
      const { page, faults } = await openPage(browser, served.address);
      await page.getByText('step 1: loss 5.500').waitFor();
      writeFileSync(join(run, 'metrics.jsonl'), step(2, 4.25), { flag: 'a' });
      await page.getByText('step 2: loss 4.250').waitFor();
      await page.getByText('Load of experts').waitFor();
      writeFileSync(join(run, 'trace.json'), kinetoTrace(64, 2));
      await page.getByRole('heading', { name: 'recorded steps' }).waitFor();
      expect(faults).toEqual([]);
    } finally {
      served.stop();
    }
  });
});

describe('every page', () => {
  const pages = ['plan?model=mixtral-8x7b&cluster=h100-2x8', 'explore', 'timeline', 'traffic', 'run'];
  const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

  it.each(pages)('has nothing serious for axe: %s', async (place) => {
    const { page } = await openPage(browser, `${studio.address}#/${place}`, { bypassCSP: true });
    await page.locator('.card').first().waitFor();
    await page.waitForLoadState('networkidle');
    await page.evaluate(axe);
    const serious = await page.evaluate(async () => {
      const { violations } = await (
        globalThis as unknown as {
          axe: { run(): Promise<{ violations: { id: string; impact: string; nodes: { html: string }[] }[] }> };
        }
      ).axe.run();
      return violations
        .filter(({ impact }) => impact === 'serious' || impact === 'critical')
        .map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html.slice(0, 120)).join(' | ')}`);
    });
    expect(serious).toEqual([]);
  });

  it.each(pages)('fits a telephone: %s', async (place) => {
    const { page } = await openPage(browser, `${studio.address}#/${place}`, {
      viewport: { width: 420, height: 800 },
      colorScheme: 'dark',
    });
    await page.locator('.card').first().waitFor();
    await page.waitForLoadState('networkidle');
    expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBeLessThanOrEqual(420);
  });
});
