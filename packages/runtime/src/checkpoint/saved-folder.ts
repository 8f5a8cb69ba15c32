/** A folder that appears at once or not at all: filled aside, flushed, then renamed. */
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { realDisk, syncFolder, type Disk } from '../files/disk.js';
import { stepOfFolder } from './training-state.js';
import { mark, markedName, otherWriter, unmark } from './writer-mark.js';

/** Folders under construction; what is left of a killed run. */
const asidePrefix = '.tmp-';
/** A folder that makes room for a new one of the same name; put back when the new one never came. */
const replacedPrefix = '.replaced-';
/** A folder on its way out. */
const removedPrefix = '.removed-';

const beside = (folder: string, prefix: string): string => join(dirname(folder), `${prefix}${basename(folder)}`);

/** The place where `folder` is filled. */
export const asideOf = (folder: string): string => beside(folder, asidePrefix);

/** Makes an empty folder aside; what a killed run left there goes. */
export function beginFolder(folder: string): string {
  const aside = asideOf(folder);
  rmSync(aside, { recursive: true, force: true });
  mkdirSync(dirname(aside), { recursive: true });
  mark(folder);
  mkdirSync(aside);
  return aside;
}

/**
 * Gives the filled folder its name; one that has it already is replaced. Every file in it was flushed by its writer.
 */
export function commitFolder(folder: string, disk: Disk = realDisk): void {
  const aside = asideOf(folder);
  syncFolder(aside, disk);
  const replaced = beside(folder, replacedPrefix);
  const exists = existsSync(folder);
  if (exists) disk.rename(folder, replaced);
  try {
    disk.rename(aside, folder);
  } catch (error) {
    if (exists) renameSync(replaced, folder);
    throw error;
  }
  syncFolder(dirname(folder), disk);
  rmSync(replaced, { recursive: true, force: true });
  unmark(folder);
}

/** Removes what was filled so far. */
export function abandonFolder(folder: string): void {
  rmSync(asideOf(folder), { recursive: true, force: true });
  unmark(folder);
}

/** Removes a folder so that no part of it is ever seen under its name. */
export function removeFolder(folder: string, disk: Disk = realDisk): void {
  const removed = beside(folder, removedPrefix);
  rmSync(removed, { recursive: true, force: true });
  disk.rename(folder, removed);
  rmSync(removed, { recursive: true, force: true });
}

/**
 * Cleans up after a killed run in a folder of such folders, and leaves what a run is filling: that of a process of this
 * machine, and, unless this run is to write there (`own`), that of another machine's. Returns the names that were
 * removed.
 */
export function cleanLeftovers(parent: string, own = true): string[] {
  if (!existsSync(parent)) return [];
  const cleaned: string[] = [];
  const inWork = (name: string): boolean => {
    const writer = otherWriter(join(parent, name));
    return writer === 'running' || (writer === 'unknown' && !own);
  };
  for (const name of readdirSync(parent)) {
    const path = join(parent, name);
    const prefix = [asidePrefix, replacedPrefix, removedPrefix].find((one) => name.startsWith(one));
    if (prefix === undefined) continue;
    const whole = name.slice(prefix.length);
    // Of names that no run gives, a person may have made them.
    if (stepOfFolder(whole) === undefined || inWork(whole)) continue;
    if (prefix === replacedPrefix && !existsSync(join(parent, whole))) renameSync(path, join(parent, whole));
    else {
      rmSync(path, { recursive: true, force: true });
      cleaned.push(name);
    }
  }
  for (const name of readdirSync(parent)) {
    const marked = markedName(name);
    if (marked !== undefined && !inWork(marked)) unmark(join(parent, marked));
  }
  return cleaned;
}
