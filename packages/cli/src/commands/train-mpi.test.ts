import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, describe, expect, it } from 'vitest';
import { inChunks, namedStrategies } from '@monta/core';
import { train, type TrainReport } from '@monta/runtime';
import { readTrainConfig, trainConfigDocument, trainConfigFrom } from '../config/train-config.js';
import { settingOf } from '../train/setting.js';
import { jobOf } from '../train/strategies-run.js';
import { testsOverMpi } from '../../../runtime/testing/hosts.js';
import { stringify } from 'yaml';

const main = fileURLToPath(new URL('../../dist/main.js', import.meta.url));
const root = mkdtempSync(join(tmpdir(), 'monta-train-mpi-'));
afterAll(() => rmSync(root, { recursive: true, force: true }));

/** Every process reads the text, and the corpus takes each of them most of a second. */
const text = join(root, 'text.txt');
writeFileSync(text, Array.from({ length: 4096 }, (_, i) => String.fromCharCode(97 + ((i * i) % 23))).join(''));

/** Two ranks, that none waits for a core; four are in `monta verify`'s tests, bit for bit. */
const sizes = ['--layout', 'dp=2,ep=2', '--sequence', '32', '--batch', '4', '--steps', '3'];
const job = [...sizes, '--text', text, '--no-compare'];

/** Runs a command line to its end; losses of its steps. */
function losses(command: string, arguments_: readonly string[], output: string): number[] {
  const folder = join(root, output);
  const ran = spawnSync(command, [...arguments_, '--output', folder], { encoding: 'utf8' });
  expect(ran.stderr + ran.stdout).toMatch(/held-out/);
  expect(ran.status).toBe(0);
  const [run = ''] = readdirSync(folder);
  return readFileSync(join(folder, run, 'metrics.jsonl'), 'utf8')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as TrainReport)
    .flatMap((report) => (report.kind === 'step' ? [report.loss] : []));
}

/** The same job on threads of this process: nothing of it needs a plan. */
async function lossesOfThreads(): Promise<number[]> {
  const setting = settingOf(
    readTrainConfig(undefined, { layout: 'dp=2,ep=2', cluster: 'laptop-2x1', text, sequence: 32, batch: 4, steps: 3 }),
  );
  const { steps } = await train({ job: jobOf(setting, inChunks(namedStrategies.scattered, 2)) });
  return steps.map(({ loss }) => loss);
}

const mpirun = ['--allow-run-as-root', '--oversubscribe', '-n', '2', process.execPath, main, 'train'];

describe.runIf(testsOverMpi)('monta train over MPI', () => {
  it('learns the same as threads do, launched here on two of four devices or by a person', async () => {
    const dispatch = ['--dispatch', 'scattered:2'];
    const threads = await lossesOfThreads();
    expect(threads).toHaveLength(3);
    const launched = losses(
      process.execPath,
      [main, 'train', '--backend', 'mpi', '--cluster', 'laptop-2x2', ...job, ...dispatch],
      'launched',
    );
    const own = losses('mpirun', [...mpirun, ...job, ...dispatch], 'own');
    for (const over of [launched, own])
      threads.forEach((loss, step) => expect(Math.abs((over[step] ?? 0) - loss)).toBeLessThan(1e-5));
  });

  it('ends with exit code 2 and one message when the layout is not that of the processes', () => {
    const ran = spawnSync('mpirun', [...mpirun, '--layout', 'tp=4,dp=2,ep=2', '--output', join(root, 'none')], {
      encoding: 'utf8',
    });
    expect(ran.stderr.match(/--layout/gu)).toHaveLength(1);
    expect(ran.status).toBe(2);
  });
});

describe('the MPI backend of a configuration', () => {
  const complaint = (text: string | undefined, overrides: Parameters<typeof readTrainConfig>[1]): string => {
    try {
      if (text === undefined) readTrainConfig(undefined, overrides);
      else trainConfigFrom(text, 'train.yaml', overrides);
    } catch (error) {
      return (error as Error & { format(): string }).format();
    }
    throw new Error('nothing was wrong');
  };

  it.each([
    { layout: 'tp=4,dp=2,ep=2', hosts: [['a', 8]] },
    {
      layout: 'tp=4,dp=3',
      hosts: [
        ['a', 4],
        ['b', 4],
        ['c', 4],
      ],
    },
    {
      layout: 'dp=16,ep=4',
      hosts: [
        ['a', 8],
        ['b', 8],
      ],
    },
  ])('runs $layout on part of the hosts, as many ranks on each, and says so again', ({ layout, hosts }) => {
    const config = readTrainConfig(undefined, { backend: 'mpi', hosts: 'a:8,b:8,c:8', layout, batch: 48 });
    const placed = config.backend.kind === 'mpi' ? config.backend.hosts?.map(({ name, slots }) => [name, slots]) : [];
    expect(placed).toEqual(hosts);
    const again = trainConfigFrom(stringify(trainConfigDocument(config)), 'train.yaml');
    expect(again.backend).toEqual(config.backend);
    expect(again.cluster.tiers).toEqual(config.cluster.tiers);
  });

  it('makes a cluster of the hosts', () => {
    const { cluster, emulate, layout } = readTrainConfig(undefined, { backend: 'mpi', hosts: 'a:8,b:8' });
    expect(cluster.name).toBe('a+b');
    expect(cluster.tiers.map(({ name, size }) => [name, size])).toEqual([
      ['host', 8],
      ['network', 2],
    ]);
    expect({ emulate, layout }).toEqual({ emulate: false, layout: 'auto' });
  });

  it('is written down so that it reads back', () => {
    const config = readTrainConfig(undefined, {
      backend: 'mpi',
      hosts: 'a:4,b:4',
      bind: '10.0.0.1',
      network: '10.0.0.0/24',
      layout: 'tp=4,dp=2,ep=2',
    });
    const again = trainConfigFrom(stringify(trainConfigDocument(config)), 'config.yaml');
    expect(again).toEqual({ ...config, output: expect.stringMatching(/runs$/u) as string });
  });

  it('says what does not go together', () => {
    expect(complaint(undefined, { hosts: 'a:4,b:4' })).toMatch(/--hosts.*threads of this process/su);
    expect(complaint(undefined, { backend: 'mpi', hosts: 'a:4,b:2' })).toMatch(/different numbers of ranks/u);
    expect(complaint(undefined, { backend: 'mpi', hosts: 'a:0' })).toMatch(/--hosts.*cannot read "a:0"/su);
    expect(complaint(undefined, { backend: 'gloo' })).toMatch(/"gloo" is not a backend/u);
    expect(complaint('backend: mpi\nemulate: { timeScale: 5 }', {})).toMatch(/network of an MPI job is real/u);
  });
});
