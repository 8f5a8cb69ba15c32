/**
 * The folder of one run, `runs/2026-11-24-a`: configuration, plan, metrics, traces, checkpoint and report. A run never
 * writes into the folder of another, whatever happens.
 */
import { realDisk, writeAll, type Disk, type FileContent } from '@monta/runtime/files';
import { closeSync, fstatSync, mkdirSync, openSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { InputError } from '@monta/core/units';
import { fileError } from './errors.js';
import { makeFolders, writeFile } from './files.js';

/** `a` to `z`, then `aa` to `zz`, …: the letters that tell the runs of one day apart, `index` from 0. */
export function runLetters(index: number): string {
  let letters = '';
  for (let rest = index; rest >= 0; rest = Math.floor(rest / 26) - 1) {
    letters = String.fromCodePoint(97 + (rest % 26)) + letters;
  }
  return letters;
}

const two = (value: number) => String(value).padStart(2, '0');

/** `2026-11-24` in the time zone of this computer. */
function localDate(date: Date): string {
  return `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;
}

/** More runs than this in one day are taken for a loop gone wild. */
const maxRunsPerDay = 26 + 26 ** 2 + 26 ** 3;

/** A file that grows by lines; every line is on its way to the disk when `append` returns. */
class LineFile {
  private readonly file: number;

  constructor(
    readonly path: string,
    private readonly disk: Disk = realDisk,
  ) {
    try {
      this.file = openSync(path, 'a');
    } catch (error) {
      throw fileError(error, path);
    }
  }

  /**
   * Adds one record as a line of JSON. Throws `InputError` when it cannot, and when the file has been removed: what is
   * written goes nowhere then.
   */
  append(record: unknown): void {
    if (fstatSync(this.file).nlink === 0)
      throw new InputError('was removed while the run wrote to it', {
        file: this.path,
        expected: 'the run folder to stay until the run ends',
        hint: 'start again; a checkpoint that was copied elsewhere can be resumed from',
      });
    try {
      writeAll(this.file, Buffer.from(`${JSON.stringify(record)}\n`, 'utf8'), this.disk);
    } catch (error) {
      throw fileError(error, this.path);
    }
  }

  /** Flushes to the disk and closes. */
  close(): void {
    try {
      this.disk.sync(this.file);
      closeSync(this.file);
    } catch (error) {
      throw fileError(error, this.path);
    }
  }
}

export class RunFolder {
  private constructor(
    /** Path of the folder. */
    readonly path: string,
    /** Its own name, as `2026-11-24-a`. */
    readonly name: string,
    private readonly disk: Disk,
  ) {}

  /**
   * Makes a new folder below `parent` (made too when it is missing), named after the date and the first free letters.
   * Making the folder is what claims the name, so two runs that start at once get two folders.
   */
  static create(parent: string, date: Date, disk: Disk = realDisk): RunFolder {
    try {
      makeFolders(resolve(parent));
    } catch (error) {
      throw fileError(error, parent);
    }
    for (let index = 0; index < maxRunsPerDay; index++) {
      const name = `${localDate(date)}-${runLetters(index)}`;
      const path = join(parent, name);
      try {
        mkdirSync(path);
        return new RunFolder(path, name, disk);
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw fileError(error, path);
      }
    }
    throw new InputError(`holds ${maxRunsPerDay} runs of today already`, {
      file: parent,
      hint: 'choose another --output',
    });
  }

  /** Path of a file in this folder, for writers that take a path (checkpoints); `name` may hold folders. */
  file(name: string): string {
    const path = join(this.path, name);
    if (relative(this.path, path).startsWith('..')) throw new RangeError(`${name} leaves the run folder`);
    return path;
  }

  /** Makes a folder inside this one and returns its path. */
  folder(name: string): string {
    const path = this.file(name);
    try {
      mkdirSync(path, { recursive: true });
    } catch (error) {
      throw fileError(error, path);
    }
    return path;
  }

  /** Writes a file whole, atomically. Returns its path. */
  write(name: string, content: FileContent): string {
    const path = this.file(name);
    const folder = dirname(path);
    if (folder !== this.path) this.folder(relative(this.path, folder));
    writeFile(path, content, this.disk);
    return path;
  }

  /** Writes a value as JSON, atomically. Returns its path. */
  writeJson(name: string, value: unknown): string {
    return this.write(name, `${JSON.stringify(value, null, 2)}\n`);
  }

  /** Opens a file of JSON lines, as `metrics.jsonl`. */
  lines(name: string): LineFile {
    return new LineFile(this.file(name), this.disk);
  }
}
