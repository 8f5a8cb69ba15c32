import { spawnSync } from 'node:child_process';
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { InputError } from '@monta/core';
import { monta } from '../testing/run-monta.js';
import { describeFailure, fileError, Interrupted } from './errors.js';
import { createStyle } from './output/style.js';

const plain = createStyle(false);
const describePlain = (error: unknown, env = {}) => describeFailure(error, plain, env);

function thrownBy(action: () => unknown): unknown {
  try {
    action();
  } catch (error) {
    return error;
  }
  throw new Error('nothing was thrown');
}

describe('describeFailure', () => {
  it('prints bad input with place, expectation and hint, exit code 2', () => {
    const error = new InputError('"200 Gpbs" is not a bandwidth', {
      file: 'cluster.yaml',
      line: 5,
      column: 52,
      path: 'tiers[1].bandwidth',
      expected: 'a number with bytes or bits a second, like 25 GB/s or 200 Gbps',
      hint: 'did you mean 200 Gbps?',
    });
    expect(describePlain(error)).toEqual({
      exitCode: 2,
      text: [
        'cluster.yaml:5:52  tiers[1].bandwidth: "200 Gpbs" is not a bandwidth',
        '  expected a number with bytes or bits a second, like 25 GB/s or 200 Gbps',
        '  did you mean 200 Gbps?',
      ].join('\n'),
    });
  });

  it('says which file is missing and what to do', () => {
    const { text, exitCode } = describePlain(thrownBy(() => readFileSync('no/such/cluster.yaml')));
    expect(exitCode).toBe(2);
    expect(text).toBe(
      'no/such/cluster.yaml  there is no such file or folder\n  check the path; relative paths start at the ' +
        'current folder',
    );
  });

  it('names the run failure and its reasons without a stack, exit code 1', () => {
    class RankFailure extends Error {
      override readonly name = 'RankFailure';
    }
    const error = new RankFailure('rank 3 ended during step 17', { cause: new Error('out of memory') });
    expect(describePlain(error)).toEqual({
      exitCode: 1,
      text: 'RankFailure: rank 3 ended during step 17\n  because out of memory',
    });
    expect(describePlain(error, { MONTA_DEBUG: '1' }).text).toContain('errors.test');
  });

  it('owns up to its own faults', () => {
    expect(describePlain(new TypeError('x is not a function')).text).toContain('a fault in Monta');
  });

  it('ends with 130 after Ctrl-C, and survives things that are no errors', () => {
    expect(describePlain(new Interrupted()).exitCode).toBe(130);
    expect(describePlain('just text')).toEqual({ text: 'just text', exitCode: 1 });
  });
});

describe('fileError', () => {
  it.each(['ENOENT', 'EACCES', 'ENOSPC', 'EISDIR', 'EROFS', 'EDQUOT'])(
    'turns %s into bad input with advice',
    (code) => {
      const error = fileError(Object.assign(new Error(code), { code, syscall: 'write' }), 'runs/a/metrics.jsonl');
      expect(error).toBeInstanceOf(InputError);
      expect((error as InputError).format()).toMatch(/^runs\/a\/metrics\.jsonl {2}.+\n {2}.+/u);
    },
  );

  it('leaves other errors alone', () => {
    const error = new Error('something else');
    expect(fileError(error, 'x')).toBe(error);
  });
});

class SaveError extends Error {
  override readonly name = 'SaveError';
  readonly exitCode = 2;
}

describe('a save that failed', () => {
  const message =
    'checkpoint step-000002 in runs/a was not written: the disk is full (ENOSPC). step-000001 stays usable';
  it.each([
    ['in a command', new SaveError(message, { cause: new Error('ENOSPC: no space left on device, write') }), message],
    [
      'on a rank',
      Object.assign(new Error(`rank 1 failed: ${message}`, { cause: new SaveError(message) }), { name: 'RankFailure' }),
      `rank 1 failed: ${message}`,
    ],
  ])('%s is one message that says what to do, exit code 2', (_, error, text) => {
    expect(describePlain(error)).toEqual({
      exitCode: 2,
      text: `${text}\n  make room, or choose another disk, and go on from there`,
    });
  });

  it('also where the system does not say of which file', () => {
    const error = Object.assign(new Error('EISDIR: illegal operation on a directory, read'), {
      code: 'EISDIR',
      syscall: 'read',
    });
    expect(describePlain(error)).toEqual({
      exitCode: 2,
      text: 'a file  is a folder, a file was expected\n  name a file inside it',
    });
  });
});

/**
 * What a person may get wrong: the command line, what the message must hold. Every one is refused before a rank starts.
 */
describe('bad input', () => {
  it('may be of any length: a name that no file can have, and a flag that is like no other', async () => {
    const long = await monta('cluster', 'x'.repeat(5000));
    expect(long.code).toBe(2);
    expect(long.err).toMatch(/no file of this name/u);
    const folder = mkdtempSync(join(tmpdir(), 'monta-long-'));
    writeFileSync(
      join(folder, 'flags.txt'),
      `--num-layers 4 --num-attention-heads 4 --tensor-model-parallel-size 2 --num-${'y'.repeat(1_000_000)} 1`,
    );
    const { code, out } = await monta('lint', join(folder, 'flags.txt'));
    rmSync(folder, { recursive: true });
    expect(code).toBe(1);
    expect(out).toContain('unknown-flag');
  });

  let folder = '';
  const at = (name: string): string => join(folder, name);
  const fixture = fileURLToPath(new URL('../../../fixtures/hf/tiny-olmoe', import.meta.url));
  const config = readFileSync(join(fixture, 'config.json'), 'utf8');
  const clusterText = (bandwidth: string): string =>
    'name: x\ndevice: { name: A, memory: 80 GiB, bf16: 312 TFLOPS, memoryBandwidth: 2 TB/s }\ntiers:\n  - { name: ' +
    `nv, size: 8, bandwidth: ${bandwidth}, latency: 3 us }\n`;

  const files: Readonly<Record<string, string | Uint8Array>> = {
    'empty.yaml': '',
    'cut.yaml': 'model: { name: small, hidd',
    'binary.yaml': Uint8Array.from({ length: 600 }, (_, i) => (i * 151) % 256),
    'unknown.yaml': 'model: tiny-bytes\nstpes: 3\n',
    'missing.yaml': 'name: x\ndevice: { name: A, memory: 80 GiB }\ntiers:\n  - { name: nv, size: 8 }\n',
    'unit.yaml': clusterText('200 Gpbs'),
    'negative.yaml': clusterText('-200 GB/s'),
    'nan.yaml': clusterText('.nan'),
    'batch.yaml': 'layout: tp=4,dp=2,ep=2\nbatch: 5\n',
    'odd.yaml':
      'model: { hiddenSize: 24, layers: 2, attentionHeads: 8, vocabSize: 256, experts: 8, topK: 2, expertFfn: 32 }\n',
    'cut.json': config.slice(0, 200),
    'keys.json': '{"model_type": "mixtral", "hidden_size": 32}',
    'family.json': '{"model_type": "gpt_neo"}',
    'heads.json': config.replace(/"num_attention_heads": \d+/u, '"num_attention_heads": -4'),
    'theta.json': config.replace(/"rope_theta": [\d.]+/u, '"rope_theta": NaN'),
    'cut-calibration.json': '{"format": "monta',
    'other-calibration.json': '{"a": 1}',
    'empty.txt': '',
    'short.txt': 'too short',
  };

  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'monta-bad-'));
    for (const [name, content] of Object.entries(files)) writeFileSync(at(name), content);
    for (const [name, damage] of [
      ['cut-model', (file: string) => truncateSync(file, 5000)],
      ['binary-model', (file: string) => writeFileSync(file, files['binary.yaml'] ?? '')],
      ['no-config', (file: string) => rmSync(join(file, '..', 'config.json'))],
    ] as const) {
      cpSync(fixture, at(name), { recursive: true });
      damage(join(at(name), 'model.safetensors'));
    }
    mkdirSync(at('folder'));
    mkdirSync(join(at('runs'), '2026-01-01-a'), { recursive: true });
    writeFileSync(join(at('runs'), '2026-01-01-a', 'report.json'), 'earlier');
  });
  afterAll(() => {
    rmSync(folder, { recursive: true });
  });

  const train = ['train', '--no-compare', '--steps', '1', '--output', 'runs'];
  const plan = ['plan', '--model', '2x70b', '--layout', 'tp=8,dp=2,ep=2', '--sequence', '4096'];
  const calibrated = [...plan, '--cluster', 'a800-2x8', '--calibration'];
  const cases: readonly (readonly [what: string, inputs: readonly string[], message: RegExp])[] = [
    ['no configuration', ['train', 'none.yaml'], /none\.yaml {2}there is no such file or folder\n {2}check the path/],
    ['an empty configuration', ['train', 'empty.yaml'], /empty\.yaml {2}the file is empty\n {2}expected/],
    [
      'a cut configuration',
      ['train', 'cut.yaml'],
      /cut\.yaml:1:\d+ {2}cannot be read as YAML[^]*is the file complete\?/,
    ],
    ['a binary configuration', ['train', 'binary.yaml'], /binary\.yaml {2}is not a text file\n {2}expected UTF-8 text/],
    ['a folder as configuration', ['train', 'folder'], /folder {2}is a folder, a file was expected\n {2}name a file/],
    ['an unknown key', ['train', 'unknown.yaml'], /unknown\.yaml:2:1 {2}stpes: unknown key[^]*did you mean steps\?/],
    ['a flag of two words', ['memory', '--microbatches', '3'], /did you mean --micro-batches\?/],
    ['an unknown flag', [...train, '--stpes', '2'], /there is no flag --stpes, did you mean --steps\?/],
    ['no number for a number', [...train, '--lr', 'high'], /^--lr {2}is not a number\n {2}expected a number above 0/],
    ['a negative rate', [...train, '--lr=-1'], /^--lr {2}-1 is out of range/],
    ['no steps', ['train', '--steps', '0'], /^--steps {2}0 is out of range\n {2}expected 1 to 1000000000/],
    ['negative steps', ['train', '--steps=-3'], /^--steps: "-3" is negative/],
    ['a capacity below zero', [...train, '--capacity-factor=-1'], /^--capacity-factor {2}-1 is out of range/],
    ['a time scale of zero', [...train, '--time-scale', '0'], /^--time-scale {2}0 is out of range/],
    ['replicas that do not divide the batch', ['train', 'batch.yaml'], /batch\.yaml:2:8 {2}batch: 2 replicas/],
    ['micro-batches that do not divide', [...train, '--micro-batch', '3'], /microBatch: 3 does not divide the 8/],
    ['tp that does not divide heads', [...train, '--model', fixture + '/config.json', '--layout', 'tp=8'], /^--layout/],
    ['heads of odd width, which no rank computes', [...train, 'odd.yaml'], /3 turning elements a head/],
    ['a layout of another cluster', [...train, '--layout', 'tp=4,dp=4'], /^--layout {2}tp·cp·dp·pp[^]*8 ranks[^]*dp=2/],
    ['ep that does not divide experts', [...train, '--layout', 'tp=1,dp=8,ep=3'], /^--layout/],
    [
      'a cluster without keys',
      [...plan, '--cluster', 'missing.yaml'],
      /missing\.yaml:2:9 {2}device: "bf16" is missing/,
    ],
    [
      'a wrong unit',
      [...plan, '--cluster', 'unit.yaml'],
      /unit\.yaml:4:37 {2}tiers\[0\]\.bandwidth[^]*mean 200 Gbps\?/,
    ],
    [
      'a negative bandwidth',
      [...plan, '--cluster', 'negative.yaml'],
      /tiers\[0\]\.bandwidth: "-200 GB\/s" is negative/,
    ],
    ['a bandwidth of NaN', [...plan, '--cluster', 'nan.yaml'], /tiers\[0\]\.bandwidth: NaN is not a bandwidth/],
    ['a cut config.json', ['model', 'cut.json'], /cut\.json:\d+:\d+ {2}cannot be read as JSON/],
    ['a config.json without keys', ['model', 'keys.json'], /keys\.json:1:1 {2}"num_hidden_layers"[^]*is missing/],
    [
      'a family of no experts',
      ['model', 'family.json'],
      /family\.json:1:16 {2}model_type[^]*gpt_neo[^]*expected one of/,
    ],
    ['negative heads', ['model', 'heads.json'], /num_attention_heads: -4 is out of range/],
    ['NaN in a config.json', ['model', 'theta.json'], /rope_theta: "NaN" is not a number/],
    ['a cut calibration', [...calibrated, 'cut-calibration.json'], /cut-calibration\.json:1:\d+ {2}cannot be read/],
    ['a foreign calibration', [...calibrated, 'other-calibration.json'], /is not a calibration\n {2}expected JSON/],
    [
      'an empty text',
      [...train, '--text', './empty.txt'],
      /empty\.txt {2}holds 0 bytes, too few to train on\n {2}expected/,
    ],
    ['a text shorter than a sequence', [...train, '--text', './short.txt'], /short\.txt {2}holds 9 bytes, too few/],
    ['no text', [...train, '--text', './none.txt'], /none\.txt {2}there is no such file/],
    ['a folder as text', [...train, '--text', './folder'], /folder  is a folder, a text file was expected/],
    ['a cut checkpoint', ['convert', 'cut-model', 'x'], /cut-model\/model\.safetensors {2}\S.*truncated/],
    ['a binary checkpoint', ['convert', 'binary-model', 'x'], /model\.safetensors {2}the header's length is \d+ bytes/],
    [
      'a checkpoint without config',
      ['convert', 'no-config', 'x'],
      /config\.json {2}can't be read: there is no such file/,
    ],
    ['a file as checkpoint', ['inspect', 'short.txt'], /short\.txt {2}is a file\n {2}expected a checkpoint/],
    ['no checkpoint', ['inspect', 'none'], /none {2}there is no such folder\n {2}expected a checkpoint\n {2}check/],
    ['an empty checkpoint', ['inspect', 'folder'], /folder {2}is no checkpoint\n {2}expected/],
  ];
  /** Names of files in place of paths: the messages hold the paths. */
  const placed = (inputs: readonly string[]): string[] =>
    inputs.map((input) => {
      const name = input.replace(/^\.\//u, '');
      return name in files || /^(?:none|folder|runs|x|cut-model|binary-model|no-config)(?:\.|$)/u.test(name)
        ? at(name)
        : input;
    });

  it.each(cases)('%s: one message, exit code 2, earlier runs untouched', async (_, inputs, message) => {
    const { out, err, code } = await monta(...placed(inputs));
    expect(err.replaceAll(`${folder}/`, '')).toMatch(message);
    expect(code).toBe(2);
    expect(out).toBe('');
    expect(err).not.toMatch(/^ +at |a fault in Monta|[A-Z]\w+Error:/mu);
    expect(err.trim().split('\n').length).toBeLessThanOrEqual(4);
    expect(readdirSync(at('runs'))).toEqual(['2026-01-01-a']);
    expect(readFileSync(join(at('runs'), '2026-01-01-a', 'report.json'), 'utf8')).toBe('earlier');
    expect(existsSync(at('x'))).toBe(false);
  });
});

describe('low limits', () => {
  const main = fileURLToPath(new URL('../bin/monta.js', import.meta.url));
  const folder = fileURLToPath(new URL('../../../fixtures/hf/tiny-mixtral', import.meta.url));

  it.each([
    [
      'few descriptors',
      'ulimit -n 30',
      2,
      ['cluster'],
      /^too many open files: .*\n {2}raise the limit \(ulimit -n\)\n$/u,
    ],
    [
      'little address space',
      'ulimit -v 3000000',
      1,
      ['verify', folder, '--dispatcher', 'sliced'],
      /no room for a rank's memory: \d+ MiB of address space.*ulimit -v/u,
    ],
  ])('%s: one message, no stack', (_, limit, code, inputs, message) => {
    const { status, stderr } = spawnSync('sh', ['-c', `${limit}; exec "$0" "$@"`, process.execPath, main, ...inputs], {
      encoding: 'utf8',
    });
    expect(stderr).toMatch(message);
    expect(stderr).not.toMatch(/^\s+at /mu);
    expect(status).toBe(code);
  });
});
