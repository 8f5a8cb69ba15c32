/** `monta verify` as a person runs it: on threads and over Open MPI, right and wrong folders, layouts and flags. */
import { cpSync, mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { testsOverMpi } from '../../../runtime/testing/hosts.js';
import { monta, type Ran } from '../../testing/run-monta.js';

const fixture = (name: string): string => fileURLToPath(new URL(`../../../../fixtures/hf/${name}`, import.meta.url));

let folder = '';
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'monta-verify-'));
});
afterAll(() => {
  rmSync(folder, { recursive: true });
});

const verify = (...inputs: string[]): Promise<Ran> => monta('verify', ...inputs);

interface Result {
  readonly folder: string;
  readonly layout: string;
  readonly backend: string;
  readonly passed: boolean;
  readonly results: readonly {
    readonly dispatcher: string;
    readonly passed: boolean;
    readonly quantities: readonly { readonly quantity: string; readonly error: number; readonly tolerance: number }[];
  }[];
}

async function verified(name: string, ...inputs: string[]): Promise<Result> {
  const { out, err, code } = await verify(fixture(name), ...inputs, '--json');
  expect({ err, code }).toEqual({ err: '', code: 0 });
  return JSON.parse(out) as Result;
}

describe.runIf(testsOverMpi)('monta verify --backend mpi', () => {
  it('verifies what its flags say', async () => {
    const flags = ['--layout', 'tp=2', '--dispatcher', 'scattered:3/2', '--backend', 'mpi'];
    const result = await verified('tiny-qwen3-moe', ...flags);
    expect(result).toMatchObject({ layout: 'tp=2', backend: 'mpi', passed: true });
    expect(result.results.map(({ dispatcher }) => dispatcher)).toEqual(['scattered:3/2']);
    expect(result.results[0]?.quantities).toHaveLength(7);
  });

  it('ends with exit code 1 where a quantity is past its tolerance', async () => {
    expect(await verify(tampered(), '--dispatcher', 'sliced', '--layout', 'tp=2', '--backend', 'mpi')).toMatchObject({
      code: 1,
      out: expect.stringMatching(/trajectory +\S+ +2e-3 +past it: loss of step 3/) as string,
      err: expect.stringMatching(/is not computed as expected on tp=2$/m) as string,
    });
  });
});

/** A folder that expects another loss at step 3. */
function tampered(): string {
  const copy = mkdtempSync(join(folder, 'tampered-'));
  cpSync(fixture('tiny-olmoe'), copy, { recursive: true });
  const path = join(copy, 'trajectory.json');
  const content = JSON.parse(readFileSync(path, 'utf8')) as { loss_and_grad_norm: [number, number][] };
  const steps = content.loss_and_grad_norm.map(([loss, norm], step) => [step === 2 ? loss + 0.01 : loss, norm]);
  writeFileSync(path, JSON.stringify({ ...content, loss_and_grad_norm: steps }));
  return copy;
}

describe('monta verify', () => {
  it('shows every quantity of every dispatcher that serves the layout', async () => {
    const { out, err, code } = await verify(fixture('tiny-mixtral'));
    expect({ err, code }).toEqual({ err: '', code: 0 });
    const quantities = [
      'logits',
      'router logits',
      'loss',
      'auxiliary loss',
      'gradients',
      'gradient norm',
      'trajectory',
    ];
    for (const quantity of quantities)
      expect(out).toMatch(new RegExp(` ${quantity} +\\d\\.\\de[+-]\\d+ +\\de-\\d +ok`, 'u'));
    // Not so exact that it was not computed.
    const { results } = await verified('tiny-mixtral');
    for (const { quantities: of } of results)
      expect(of.find(({ quantity }) => quantity === 'gradients')?.error).toBeGreaterThan(0);
  });

  it('ends with exit code 1 where a quantity is past its tolerance, and says where', async () => {
    const { out, err, code } = await verify(tampered(), '--dispatcher', 'sliced');
    expect(code).toBe(1);
    expect(out).toMatch(/trajectory +\S+ +2e-3 +past it: loss of step 3/);
    expect(err).toMatch(/is not computed as expected on tp=1$/m);
    const json = await verify(tampered(), '--dispatcher', 'sliced', '--json');
    expect(json.code).toBe(1);
    expect(JSON.parse(json.out)).toMatchObject({ passed: false });
  });

  it('says where there are more chunks than rows', async () => {
    const flags = [fixture('tiny-olmoe'), '--dispatcher', 'sliced', '--chunks'];
    expect(await verify(...flags, '200/1')).toMatchObject({
      code: 0,
      err: expect.stringMatching(/200 chunks, and no expert gets more than \d+ rows of a slice/) as string,
    });
    expect(await verify(...flags, '3/2')).toMatchObject({ code: 0, err: '' });
  });

  const olmoe = fixture('tiny-olmoe');
  it.each<[string, string[], RegExp]>([
    ['a layout of unknown degrees', [olmoe, '--layout', 'xp=2'], /--layout.*xp/],
    ['more TP than heads', [fixture('tiny-mixtral'), '--layout', 'tp=3'], /tp=3 does not divide/],
    ['EP that does not divide the experts', [olmoe, '--layout', 'dp=3,ep=3'], /ep=3/],
    ['chunks that are none', [olmoe, '--chunks', '0'], /--chunks +"0" are no chunk counts\n +expected/],
    ['more chunks than any run has', [olmoe, '--chunks', '1000'], /--chunks +"1000" are no .*\n +expected .*1 to 256/],
    ['more backward chunks', [olmoe, '--chunks', '2/257'], /--chunks +"2\/257" are no chunk counts/],
    ['more ranks than memory', [olmoe, '--layout', 'dp=65536'], /--layout +65536 ranks of 64 MiB on this machine's/],
    ['a pipeline', [olmoe, '--layout', 'pp=2'], /--layout +pp: pp=2: .*not run\n +expected pp=1/],
    ['context parallelism', [olmoe, '--layout', 'cp=2'], /--layout +cp: cp=2: .*not run\n +expected cp=1/],
    ['a dispatcher that is none', [olmoe, '--dispatcher', 'teleported'], /teleported/],
    ['auto', [olmoe, '--dispatcher', 'auto'], /--dispatcher +auto chooses by speed/],
    ['a backend that is none', [olmoe, '--backend', 'gloo'], /^--backend: "gloo" is not one of local, mpi, nccl/],
    ['no folder', [join(fixture('.'), 'none')], /none/],
  ])('refuses %s with one message and exit code 2', async (_, inputs, message) => {
    const { out, err, code } = await verify(...inputs);
    expect(code).toBe(2);
    expect(out).toBe('');
    expect(err).toMatch(message);
    expect(err).not.toMatch(/^ +at /m);
  });

  it.each(['config.json', 'model.safetensors', 'expected.safetensors', 'grads.safetensors', 'trajectory.json'])(
    'refuses a folder whose %s is cut short, naming it',
    async (file) => {
      const copy = mkdtempSync(join(folder, 'cut-'));
      cpSync(olmoe, copy, { recursive: true });
      truncateSync(join(copy, file), 100);
      const { err, code } = await verify(copy);
      expect(code).toBe(2);
      expect(err).toContain(file);
      expect(err).not.toMatch(/^ +at /m);
    },
  );
});
