/**
 * The SQLite export of Nsight Systems (`nsys export --type sqlite`), table by table; schema: NVIDIA's "SQLite Export
 * Schema Reference".
 */
import sqlite from 'node-sqlite3-wasm';
import type { DeviceActivity, RankProfile } from '@monta/core';
import { InputError, shownValue } from '@monta/core/units';
import { profileOfKernels } from '@monta/core/profiles';

const kernelTable = 'CUPTI_ACTIVITY_KIND_KERNEL';
const copyTables = ['CUPTI_ACTIVITY_KIND_MEMCPY', 'CUPTI_ACTIVITY_KIND_MEMSET'];
const secondsPerNanosecond = 1e-9;

type Row = Readonly<Record<string, unknown>>;

const secondsOf = (value: unknown): number =>
  typeof value === 'number' || typeof value === 'bigint' ? Number(value) * secondsPerNanosecond : NaN;

/** Throws `InputError` for times that are none. */
function activityOf(row: Row, names: ReadonlyMap<unknown, string>, file: string): DeviceActivity {
  const [start, end] = [secondsOf(row['start']), secondsOf(row['end'])];
  if (!(start <= end && end < Infinity))
    throw new InputError(`has a kernel from ${shownValue(row['start'])} to ${shownValue(row['end'])}`, {
      file,
      expected: 'times in nanoseconds, the end after the start',
    });
  return { name: names.get(row['name']) ?? '', start, end };
}

const whole = (value: unknown): number | bigint | null =>
  typeof value === 'number' || typeof value === 'bigint' ? value : null;

/** Beyond any report: each device is looked for in the whole table. */
const mostDevices = 1024;
/** Beyond any report; names are held in memory. */
const mostNames = 2 ** 22;

const wrongDatabase = (file: string, message: string): InputError =>
  new InputError(message, {
    file,
    expected: 'the SQLite export of a report of Nsight Systems with CUDA traced',
    hint: 'nsys profile --trace=cuda,nvtx …, then nsys export --type sqlite report.nsys-rep',
  });

/**
 * The tables of an export. What runs when it is read (views, virtual tables, computed columns) is none: a file must not
 * say what is computed here, nor for how long. Throws `InputError` for such.
 */
function tablesOf(database: sqlite.Database, file: string): Set<string> {
  const tables = new Set<string>();
  for (const { type, name, sql } of database.all('SELECT type, name, sql FROM sqlite_master')) {
    const [kind, called, text] = [type, name, sql].map((value) => (typeof value === 'string' ? value : ''));
    if (kind !== 'table') continue;
    if (/^\s*CREATE\s+VIRTUAL|\bAS\s*\(/iu.test(text))
      throw wrongDatabase(file, `computes its table ${shownValue(called)} when it is read`);
    tables.add(called);
  }
  return tables;
}

/** Names of kernels, by the ids that stand for them. */
function namesOf(database: sqlite.Database, tables: ReadonlySet<string>, file: string): ReadonlyMap<unknown, string> {
  const names = new Map<unknown, string>();
  if (!tables.has('StringIds')) return names;
  for (const { id, value } of each(database, 'SELECT id, value FROM StringIds')) {
    if (typeof value === 'string') names.set(id, value);
    if (names.size > mostNames) throw wrongDatabase(file, `has more than ${mostNames} names`);
  }
  return names;
}

/**
 * Profiles of the devices in a report, the first as rank `firstRank`. Throws `InputError` for another database, and for
 * one without kernels.
 */
export function readNsys(file: string, firstRank: number): RankProfile[] {
  let database: sqlite.Database | undefined;
  try {
    database = new sqlite.Database(file, { readOnly: true, fileMustExist: true });
    return profilesOf(database, file, firstRank);
  } catch (error) {
    if (error instanceof sqlite.SQLite3Error) throw wrongDatabase(file, `cannot be read: ${error.message}`);
    throw error;
  } finally {
    database?.close();
  }
}

function profilesOf(database: sqlite.Database, file: string, firstRank: number): RankProfile[] {
  const tables = tablesOf(database, file);
  if (!tables.has(kernelTable)) throw wrongDatabase(file, `has no table ${kernelTable}`);
  const devices = database.all(
    `SELECT DISTINCT globalPid, deviceId FROM ${kernelTable} ORDER BY globalPid, deviceId LIMIT ${mostDevices + 1}`,
  );
  if (devices.length === 0)
    throw new InputError('has no kernel', {
      file,
      expected: 'a report in which a step ran',
      hint: 'was a step inside the profiled part?',
    });
  if (devices.length > mostDevices) throw wrongDatabase(file, `has kernels of more than ${mostDevices} devices`);
  const gpus = tables.has('TARGET_INFO_GPU')
    ? database.all(`SELECT id, name FROM TARGET_INFO_GPU LIMIT ${mostDevices}`)
    : [];
  const names = namesOf(database, tables, file);
  return devices.map(({ globalPid, deviceId }, place) => {
    const of = function* of(table: string, name: string): Generator<DeviceActivity> {
      const sql = `SELECT ${name} AS name, a.start, a.end FROM ${table} a WHERE a.globalPid IS ? AND a.deviceId IS ?`;
      for (const row of each(database, sql, [whole(globalPid), whole(deviceId)])) yield activityOf(row, names, file);
    };
    const rank = firstRank + place;
    const device = gpus.find(({ id }) => id === deviceId)?.['name'];
    return profileOfKernels({
      file,
      rank,
      device: typeof device === 'string' ? device : '',
      ...(gpus.length > 0 ? { devicesPerNode: gpus.length } : {}),
      kernels: of(kernelTable, 'a.demangledName'),
      copies: copyTables.filter((table) => tables.has(table)).flatMap((table) => [...of(table, 'NULL')]),
      notes: [
        `device ${whole(deviceId)} taken as rank ${rank}: a report of Nsight Systems does not say which it is`,
        'Nsight Systems records no groups and no sizes of collectives: kinds, times and overlap only',
      ],
    });
  });
}

function* each(database: sqlite.Database, sql: string, values: sqlite.BindValues = []): Generator<Row> {
  const statement = database.prepare(sql);
  try {
    for (const row of statement.iterate(values)) yield row;
  } finally {
    statement.finalize();
  }
}
