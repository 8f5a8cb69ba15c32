/**
 * Says beside a folder under construction which process fills it, so that others can tell the work of a run that goes
 * on from what a killed one left.
 */
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { isRecord } from '@monta/core/units';

const prefix = '.writer-';

/** Where it is said of a folder. */
const markOf = (folder: string): string => join(dirname(folder), `${prefix}${basename(folder)}`);

/** The name of the folder that a file says it of; undefined for other files. */
export const markedName = (file: string): string | undefined =>
  file.startsWith(prefix) ? file.slice(prefix.length) : undefined;

/** When a process of this machine began, in the system's own count, which tells it from a later one of its number. */
function beginOf(pid: number): string | undefined {
  try {
    // After the name, which may hold spaces and brackets, in parentheses: field 22 of proc(5).
    return readFileSync(`/proc/${pid}/stat`, 'latin1').split(') ').at(-1)?.split(' ')[19];
  } catch {
    return undefined;
  }
}

export function mark(folder: string): void {
  const { pid } = process;
  writeFileSync(markOf(folder), JSON.stringify({ host: hostname(), pid, began: beginOf(pid) }));
}

export const unmark = (folder: string): void => rmSync(markOf(folder), { force: true });

/**
 * Whether another process fills the folder: `running` where it surely does, `unknown` where it is of another machine,
 * whose processes cannot be seen from here.
 */
export function otherWriter(folder: string): 'none' | 'running' | 'unknown' {
  let said: unknown;
  try {
    said = JSON.parse(readFileSync(markOf(folder), 'utf8'));
  } catch {
    return 'none';
  }
  const { host, pid, began } = isRecord(said) ? said : {};
  if (typeof host !== 'string' || typeof pid !== 'number') return 'none';
  if (host !== hostname()) return 'unknown';
  if (pid === process.pid) return 'none';
  const now = beginOf(pid);
  return now !== undefined && now === began ? 'running' : 'none';
}
