import { createWriteStream, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGzip, gzipSync } from 'node:zlib';
import sqlite from 'node-sqlite3-wasm';
import { afterAll, expect, it } from 'vitest';
import { generateTraces, plainJob } from '../../../core/testing/profiles/kineto-generator.js';
import { writeNsysReport } from '../../testing/fuzz/nsys-report.js';
import { monta } from '../../testing/run-monta.js';

const folder = mkdtempSync(join(tmpdir(), 'monta-profile-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

interface Row {
  readonly op: string;
  readonly library: string;
  readonly ranks?: number;
  readonly tier?: string;
  readonly calls: number;
  readonly sentBytes?: number;
  readonly waitingSeconds?: number;
  readonly exposedSeconds?: number;
  readonly busBytesPerSecond?: number;
}

interface Report {
  readonly ranks: readonly {
    readonly rank: number;
    readonly exposedSeconds: number;
    readonly computeSeconds: number;
  }[];
  readonly rows: readonly Row[];
  readonly notes: readonly string[];
}

async function report(...inputs: string[]): Promise<Report> {
  const { code, out, err } = await monta('trace', ...inputs, '--json');
  expect(err).toBe('');
  expect(code).toBe(0);
  return JSON.parse(out) as Report;
}

it('reads a folder of packed and plain traces, and names tiers of the cluster', async () => {
  const inside = join(folder, 'job');
  mkdirSync(inside);
  const traces = generateTraces({ ...plainJob, ranks: 16, expertParallel: 16, layers: 2, clockOffset: 0.1 });
  for (const [rank, { text }] of traces.entries())
    writeFileSync(
      join(inside, rank % 2 === 0 ? `r${rank}.json.gz` : `r${rank}.json`),
      rank % 2 === 0 ? gzipSync(text) : text,
    );
  const { ranks, rows } = await report(inside, '--cluster', 'h100-2x8');
  expect(ranks.map(({ rank }) => rank)).toEqual(Array.from({ length: 16 }, (_, rank) => rank));
  for (const { truth } of traces) expect(ranks[truth.rank]?.exposedSeconds).toBeCloseTo(truth.exposedNs * 1e-9, 8);
  const exchange = rows.find(({ op }) => op === 'all_to_all');
  expect(exchange).toMatchObject({ ranks: 16, tier: 'infiniband', calls: 4 });
  expect(exchange?.waitingSeconds).toBeGreaterThan(0);
  const shown = await monta('trace', inside);
  expect(shown.out).toContain('EXPERT_MODEL_PARALLEL_GROUP 16 ranks (2 nodes)');
  expect(shown.out).toContain('the 8 with the most exposed time, of 16');
});

it('lays the same step beside it as it is predicted, and names what would be faster', async () => {
  const inside = join(folder, 'compared');
  mkdirSync(inside);
  for (const [rank, { text }] of generateTraces({ ...plainJob, layers: 2, deepEp: true }).entries())
    writeFileSync(join(inside, `r${rank}.json`), text);
  const flags = join(folder, 'flags.txt');
  writeFileSync(
    flags,
    '--num-layers 2 --hidden-size 256 --ffn-hidden-size 512 --moe-ffn-hidden-size 512 --num-attention-heads 4 ' +
      '--vocab-size 1000 --num-experts 8 --moe-router-topk 2 --expert-model-parallel-size 8 --seq-length 1024 ' +
      '--expert-tensor-parallel-size 1 --micro-batch-size 1 --global-batch-size 16 --bf16 ' +
      '--use-distributed-optimizer --moe-token-dispatcher-type flex --swiglu --disable-bias-linear',
  );
  const ran = ['--script', flags, '--cluster', 'h100-1x8'];
  const { code, out } = await monta('trace', inside, ...ran, '--json');
  expect(code).toBe(0);
  const { compared, rows } = JSON.parse(out) as {
    compared: {
      steps: number;
      parts: { part: string; measured: number; measuredInAll?: number }[];
      kinds: { op: string; degree?: string; measured: number; predicted: number }[];
      predicted: number;
    };
    rows: Row[];
  };
  expect(compared.steps).toBe(2);
  expect(compared.predicted).toBeGreaterThan(0);
  expect(compared.parts.find(({ part }) => part === 'ep')?.measured).toBeGreaterThan(0);
  // 1024 tokens to the ranks of their two experts, 256 columns of two bytes: all but the own rank's
  const dispatch = rows.find(({ op }) => op === 'dispatch');
  expect(dispatch?.sentBytes).toBeCloseTo((dispatch?.calls ?? 0) * 1024 * 2 * (7 / 8) * 256 * 2, 0);
  // kinds of one degree add up to it, predicted and recorded
  const ofExperts = compared.kinds.filter(({ degree }) => degree === 'ep');
  expect(ofExperts.map(({ op }) => op)).toEqual(expect.arrayContaining(['dispatch', 'combine']));
  expect(ofExperts.reduce((sum, { measured }) => sum + measured, 0)).toBeCloseTo(
    compared.parts.find(({ part }) => part === 'ep')?.measuredInAll ?? 0,
    12,
  );
  const [both, page] = [join(folder, 'both.json'), join(folder, 'both.html')];
  const shown = await monta('trace', inside, ...ran, '--perfetto', both, '--html', page);
  const { metadata, traceEvents } = JSON.parse(readFileSync(both, 'utf8')) as {
    metadata: { traces: { kind: string; source: string }[] };
    traceEvents: { ph: string; name: string; pid: number; cat?: string; dur: number; args: { sort_index: number } }[];
  };
  expect(metadata.traces.slice(0, 2).map(({ kind }) => kind)).toEqual(['measured', 'simulated']);
  // every kernel of the exchange stands in it, and the predicted rank beside the recorded one
  const kernels = traceEvents.filter(({ name, cat }) => name === 'recorded/EP dispatch' && cat !== 'waiting');
  expect(kernels).toHaveLength((dispatch?.calls ?? 0) * 8);
  const places = traceEvents.filter(({ name }) => name === 'process_sort_index').map(({ args }) => args.sort_index);
  expect(new Set(places).size).toBe(places.length);
  expect(readFileSync(page, 'utf8')).toContain('One over the other');
  expect((await monta('trace', inside, '--html', page)).err).toContain('no predicted step to lay beside');
  expect(shown.out).toContain('The same step predicted');
  expect(shown.out).toMatch(/Recorded, rank \d+\ncompute/u);
  expect(shown.out).toContain('Best plan');
  expect((await monta('trace', inside, '--script', flags)).err).toContain('--cluster beside --script');
});

it('gives calibrate its measurements', async () => {
  const paths = generateTraces({ ...plainJob, layers: 6, clockOffset: 1 }).map(({ text }, rank) => {
    const path = join(folder, `c${rank}.json.gz`);
    writeFileSync(path, gzipSync(text));
    return path;
  });
  const output = join(folder, 'calibration.json');
  const { code, out } = await monta('calibrate', ...paths, '--cluster', 'h100-2x8', '-o', output);
  expect(code).toBe(0);
  expect(out).toContain('nccl 2.21.5');
  const { series } = JSON.parse(readFileSync(output, 'utf8')) as {
    series: { op: string; ranks: number; nodes: number }[];
  };
  expect(series.map(({ op, ranks, nodes }) => `${op} ${ranks} ${nodes}`)).toEqual(
    expect.arrayContaining(['all_gather 2 1', 'reduce_scatter 2 1', 'all_reduce 4 1']),
  );
  expect((await monta('calibrate', ...paths.slice(0, 1), '-o', output)).err).toContain('recorded by all its ranks');
});

it('reads the SQLite export of Nsight Systems, one rank a device', async () => {
  const path = writeNsysReport(join(folder, 'report.sqlite'));
  const { ranks, rows, notes } = await report(path);
  expect(ranks.map(({ computeSeconds }) => Math.round(computeSeconds * 1e9))).toEqual([6000, 0]);
  expect(ranks.map(({ exposedSeconds }) => Math.round(exposedSeconds * 1e9))).toEqual([2000, 1000]);
  expect(rows.map(({ op, library }) => `${library} ${op}`).sort()).toEqual(['HybridEP dispatch', 'NCCL send_receive']);
  expect(notes.join()).toContain('records no groups and no sizes');
});

it('reads records of the NCCL Inspector: the last rank to arrive waits for nobody', async () => {
  const path = join(folder, 'inspector.log');
  const record = (rank: number, us: number): string =>
    JSON.stringify({
      header: { id: '0x7f', rank, n_ranks: 2, nnodes: 1 },
      metadata: { inspector_output_format_version: 'v4.0' },
      coll_perf: {
        coll: 'AllReduce',
        coll_sn: 1,
        coll_msg_size_bytes: 4e6,
        coll_exec_time_us: us,
        coll_timing_source: 'kernel_gpu',
      },
    });
  writeFileSync(path, `${record(0, 100)}\n${record(1, 40)}\n`);
  const { rows } = await report(path);
  expect(rows).toHaveLength(1);
  expect(rows[0]).toMatchObject({ op: 'all_reduce', calls: 1, sentBytes: 4e6 });
  expect(rows[0]?.waitingSeconds).toBeCloseTo(30e-6, 12);
  expect(rows[0]?.busBytesPerSecond).toBeCloseTo(4e6 / 40e-6, 0);
  expect(rows[0]?.exposedSeconds).toBeUndefined();
});

it('refuses damaged files, other databases and empty folders', async () => {
  const path = join(folder, 'cut.json.gz');
  writeFileSync(path, gzipSync('{"traceEvents": []}').subarray(0, 20));
  const cut = await monta('trace', path);
  expect(cut.code).toBe(2);
  expect(cut.err).toContain('cannot be unpacked');
  const other = join(folder, 'other.sqlite');
  const database = new sqlite.Database(other);
  database.exec('CREATE TABLE t (a INT)');
  database.close();
  expect((await monta('trace', other)).err).toContain('has no table CUPTI_ACTIVITY_KIND_KERNEL');
  const empty = join(folder, 'empty');
  mkdirSync(empty);
  expect((await monta('trace', empty)).err).toContain('has no traces');
  expect((await monta('trace', join(folder, 'none.json'))).code).toBe(2);
});

it('a database cannot say what is computed when it is read, and its times are times', async () => {
  const kernels =
    'CREATE TABLE CUPTI_ACTIVITY_KIND_KERNEL (start INT, end INT, deviceId INT, globalPid INT, demangledName INT);';
  const endless = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT x AS id, 'a' AS value FROM c";
  const cases: readonly (readonly [string, RegExp])[] = [
    [`CREATE VIEW CUPTI_ACTIVITY_KIND_KERNEL AS ${endless};`, /has no table CUPTI_ACTIVITY_KIND_KERNEL/u],
    [
      'CREATE TABLE CUPTI_ACTIVITY_KIND_KERNEL (start INT, end INT AS (length(zeroblob(900000000))), ' +
        'deviceId INT, globalPid INT, demangledName INT);',
      /computes its table "CUPTI_ACTIVITY_KIND_KERNEL" when it is read/u,
    ],
    [`${kernels} INSERT INTO CUPTI_ACTIVITY_KIND_KERNEL VALUES (9, 1, 0, 1, 1);`, /has a kernel from 9 to 1/u],
    [`${kernels} INSERT INTO CUPTI_ACTIVITY_KIND_KERNEL VALUES ('a', 1, 0, 1, 1);`, /has a kernel from "a" to 1/u],
    ['CREATE TABLE CUPTI_ACTIVITY_KIND_KERNEL (start INT);', /cannot be read: no such column/u],
  ];
  for (const [place, [sql, message]] of cases.entries()) {
    const path = join(folder, `hostile-${place}.sqlite`);
    const database = new sqlite.Database(path);
    database.exec(sql);
    database.close();
    const { code, err } = await monta('trace', path);
    expect(err).toMatch(message);
    expect(err).toContain(path);
    expect(code).toBe(2);
  }
  // Names that a view would count up for ever are not asked for.
  const path = join(folder, 'endless.sqlite');
  const database = new sqlite.Database(path);
  database.exec(
    `${kernels} INSERT INTO CUPTI_ACTIVITY_KIND_KERNEL VALUES (1, 9, 0, 1, 1); CREATE VIEW StringIds AS ${endless};`,
  );
  database.close();
  expect((await monta('trace', path)).code).toBe(0);
});

it('refuses a small file that unpacks without end, and one that is nested without end', async () => {
  const bomb = join(folder, 'bomb.json.gz');
  const events = Buffer.alloc(1 << 20, '{"a": 1},');
  const pieces = Readable.from(['{"traceEvents": [', ...Array<Buffer>(100).fill(events)]);
  await pipeline(pieces, createGzip({ level: 9 }), createWriteStream(bomb));
  const unpacking = await monta('trace', bomb);
  expect(unpacking.err).toMatch(/bomb\.json\.gz {2}unpacks to more than any trace/u);
  expect(unpacking.code).toBe(2);
  const deep = join(folder, 'deep.json');
  for (const [open, close] of [
    ['[', ']'],
    ['{"a":', '}'],
  ] as const) {
    const event = `{"cat": "kernel", "args": ${open.repeat(100_000)}1${close.repeat(100_000)}}`;
    writeFileSync(deep, `{"traceEvents": [${event}]}`);
    expect((await monta('trace', deep)).code).toBe(2);
  }
});
