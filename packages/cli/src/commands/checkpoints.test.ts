/** `monta convert` and `monta inspect` on the tiny Hugging Face folders. */
import { mkdtempSync, readdirSync, rmSync, truncateSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { monta } from '../../testing/run-monta.js';

const fixture = fileURLToPath(new URL('../../../../fixtures/hf/tiny-qwen3-moe', import.meta.url));

let folder = '';
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'monta-convert-'));
});
afterAll(() => {
  rmSync(folder, { recursive: true });
});

describe('monta convert and inspect', () => {
  it('go from a model folder to a sharded state and back in another type', async () => {
    const [state, model] = [join(folder, 'state'), join(folder, 'model')];
    const there = await monta('convert', fixture, state, '--layout', 'tp=2,dp=2,ep=2');
    expect(there).toMatchObject({ code: 0, err: '' });
    expect(there.out).toMatch(
      /Read +.*tiny-qwen3-moe \(Hugging Face folder\)\nWrote +.* \(training state of step 0, tp=2,dp=2,ep=2\)/,
    );
    expect(readdirSync(state).filter((name) => name.startsWith('rank-'))).toHaveLength(4);
    const back = await monta('convert', state, model, '--dtype', 'bf16', '--shard-size', '40 kB', '--json');
    expect(JSON.parse(back.out)).toMatchObject({ from: 'state', to: 'hf', type: 'BF16', left: [] });
    const shown = await monta('inspect', model, '--tensors');
    expect(shown).toMatchObject({ code: 0, err: '' });
    expect(shown.out).toMatch(/Experts +4 of 16, width 24, on 2 layers/);
    expect(shown.out).toMatch(/States +weight in bf16/);
    expect(shown.out).toMatch(/Complete +yes; every file matches its digest/);
    expect(shown.out).toMatch(/model\.embed_tokens\.weight +128 x 32/);
    const json = JSON.parse((await monta('inspect', fixture, '--json')).out) as { parameters: { total: number } };
    // 2 x 128·32 of embedding and output, 2 layers of attention, norms, router and 16 experts, the last norm
    const layer = 32 * 8 * (4 + 2 + 2 + 4) + 2 * 8 + 2 * 32 + 16 * 32 + 16 * 3 * 24 * 32;
    expect(json.parameters.total).toBe(2 * 128 * 32 + 2 * layer + 32);
  });

  it('name what is damaged, and refuse what is there or makes no sense', async () => {
    const state = join(folder, 'damaged');
    await monta('convert', fixture, state);
    truncateSync(join(state, 'rank-00000-of-00001.safetensors'), 1000);
    const inspected = await monta('inspect', state);
    expect(inspected.code).toBe(1);
    expect(inspected.out).toMatch(/Complete +no/);
    expect(inspected.err).toMatch(
      /rank-00000-of-00001\.safetensors +has 1000 bytes\n +expected \d+, as manifest\.json says/,
    );
    expect(await monta('convert', state, join(folder, 'x'))).toMatchObject({
      code: 2,
      err: expect.stringMatching(/rank-00000-of-00001\.safetensors +has 1000 bytes/) as string,
    });
    expect(await monta('convert', fixture, state)).toMatchObject({
      code: 2,
      err: expect.stringMatching(/exists already/) as string,
    });
    expect(await monta('convert', fixture, join(folder, 'y'), '--layout', 'tp=3')).toMatchObject({
      code: 2,
      err: expect.stringMatching(/tp=3 does not divide the 4 attention heads/) as string,
    });
    expect(await monta('inspect', folder)).toMatchObject({ code: 2 });
    expect(readdirSync(folder).filter((name) => name.startsWith('.') || name === 'x' || name === 'y')).toEqual([]);
  });
});
