/**
 * The SQLite export of Nsight Systems (`nsys export --type sqlite`), table by table; schema: NVIDIA's "SQLite Export
 * Schema Reference".
 */
import sqlite from 'node-sqlite3-wasm';
import { InputError, profileOfKernels, type DeviceActivity, type RankProfile } from '@monta/core';

const kernelTable = 'CUPTI_ACTIVITY_KIND_KERNEL';
const copyTables = ['CUPTI_ACTIVITY_KIND_MEMCPY', 'CUPTI_ACTIVITY_KIND_MEMSET'];
const secondsPerNanosecond = 1e-9;

type Row = Readonly<Record<string, unknown>>;

const activityOf = ({ name, start, end }: Row): DeviceActivity => ({
  name: typeof name === 'string' ? name : '',
  start: Number(start) * secondsPerNanosecond,
  end: Number(end) * secondsPerNanosecond,
});

const whole = (value: unknown): number | bigint | null =>
  typeof value === 'number' || typeof value === 'bigint' ? value : null;

/**
 * Profiles of the devices in a report, the first as rank `firstRank`. Throws `InputError` for another database, and for
 * one without kernels.
 */
export function readNsys(file: string, firstRank: number): RankProfile[] {
  const database = new sqlite.Database(file, { readOnly: true, fileMustExist: true });
  try {
    const tables = new Set(database.all("SELECT name FROM sqlite_master WHERE type = 'table'").map(({ name }) => name));
    if (!tables.has(kernelTable))
      throw new InputError(`has no table ${kernelTable}`, {
        file,
        expected: 'the SQLite export of a report of Nsight Systems with CUDA traced',
        hint: 'nsys profile --trace=cuda,nvtx …, then nsys export --type sqlite report.nsys-rep',
      });
    const devices = database.all(
      `SELECT DISTINCT globalPid, deviceId FROM ${kernelTable} ORDER BY globalPid, deviceId`,
    );
    if (devices.length === 0)
      throw new InputError('has no kernel', {
        file,
        expected: 'a report in which a step ran',
        hint: 'was a step inside the profiled part?',
      });
    const gpus = tables.has('TARGET_INFO_GPU') ? database.all('SELECT id, name FROM TARGET_INFO_GPU') : [];
    return devices.map(({ globalPid, deviceId }, place) => {
      const of = (table: string, name: string): Iterable<DeviceActivity> =>
        rows(database, `SELECT ${name}, a.start, a.end FROM ${table} a WHERE a.globalPid = ? AND a.deviceId = ?`, [
          whole(globalPid),
          whole(deviceId),
        ]);
      const rank = firstRank + place;
      const device = gpus.find(({ id }) => id === deviceId)?.['name'];
      return profileOfKernels({
        file,
        rank,
        device: typeof device === 'string' ? device : '',
        ...(gpus.length > 0 ? { devicesPerNode: gpus.length } : {}),
        kernels: of(kernelTable, '(SELECT value FROM StringIds s WHERE s.id = a.demangledName) AS name'),
        copies: copyTables.filter((table) => tables.has(table)).flatMap((table) => [...of(table, "'' AS name")]),
        notes: [
          `device ${whole(deviceId)} taken as rank ${rank}: a report of Nsight Systems does not say which it is`,
          'Nsight Systems records no groups and no sizes of collectives: kinds, times and overlap only',
        ],
      });
    });
  } finally {
    database.close();
  }
}

function* rows(database: sqlite.Database, sql: string, values: sqlite.BindValues): Generator<DeviceActivity> {
  const statement = database.prepare(sql);
  try {
    for (const row of statement.iterate(values)) yield activityOf(row);
  } finally {
    statement.finalize();
  }
}
