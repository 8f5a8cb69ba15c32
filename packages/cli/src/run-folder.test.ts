import { realDisk, type Disk } from '@monta/runtime/files';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { InputError } from '@monta/core';
import { writeFile } from './files.js';
import { RunFolder, runLetters } from './run-folder.js';

let root: string;
const day = new Date(2026, 10, 24, 9, 30);
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'monta-runs-'));
});
afterEach(() => rmSync(root, { recursive: true, force: true }));

/** A disk that takes `space` bytes and is full then, writing what still fits, as a real one does. */
function smallDisk(space: number): Disk {
  let left = space;
  return {
    ...realDisk,
    write(descriptor, bytes, offset, length, position) {
      const fits = Math.min(length, left);
      left -= fits;
      if (fits > 0) return realDisk.write(descriptor, bytes, offset, fits, position);
      throw Object.assign(new Error('ENOSPC: no space left on device, write'), { code: 'ENOSPC', syscall: 'write' });
    },
  };
}

describe('RunFolder', () => {
  it('notices that it was removed while it is written to', () => {
    const run = RunFolder.create(root, day);
    const lines = run.lines('metrics.jsonl');
    lines.append({ step: 1 });
    rmSync(run.path, { recursive: true });
    expect(() => lines.append({ step: 2 })).toThrow(InputError);
    expect(() => lines.append({ step: 2 })).toThrow('was removed while the run wrote to it');
    lines.close();
  });

  it('never takes the folder of another run', () => {
    const names = Array.from({ length: 30 }, () => RunFolder.create(root, day).name);
    expect(names.slice(0, 2)).toEqual(['2026-11-24-a', '2026-11-24-b']);
    expect(names.slice(25, 28)).toEqual(['2026-11-24-z', '2026-11-24-aa', '2026-11-24-ab']);
    expect(new Set(names).size).toBe(30);
  });

  it('passes over a file that has its name', () => {
    writeFileSync(join(root, '2026-11-24-a'), 'not a folder');
    expect(RunFolder.create(root, day).name).toBe('2026-11-24-b');
  });

  it('writes files, JSON and lines', () => {
    const run = RunFolder.create(join(root, 'runs'), day);
    run.write('config.yaml', 'steps: 3\n');
    run.writeJson('traces/predicted.json', { spans: [] });
    const metrics = run.lines('metrics.jsonl');
    metrics.append({ step: 1, loss: 5.5 });
    // Readable before the run ends: a person may follow it.
    expect(readFileSync(run.file('metrics.jsonl'), 'utf8')).toBe('{"step":1,"loss":5.5}\n');
    metrics.append({ step: 2, loss: 5.25 });
    metrics.close();
    expect(readFileSync(run.file('metrics.jsonl'), 'utf8').trim().split('\n')).toHaveLength(2);
    expect(readdirSync(run.path).sort()).toEqual(['config.yaml', 'metrics.jsonl', 'traces']);
    expect(() => run.file('../other')).toThrow(/leaves the run folder/u);
  });

  it('says that the disk is full and leaves everything earlier intact', () => {
    const earlier = RunFolder.create(root, day);
    earlier.write('report.html', 'the old report');
    const run = RunFolder.create(root, day, smallDisk(20));
    run.write('plan.json', 'fits in');
    let caught: unknown;
    try {
      run.write('plan.json', 'this one does not fit any more');
    } catch (error) {
      caught = error;
    }
    expect(caught).toBeInstanceOf(InputError);
    expect((caught as InputError).format()).toMatch(/plan\.json {2}the disk is full\n {2}free some space/u);
    expect(readFileSync(run.file('plan.json'), 'utf8')).toBe('fits in');
    expect(readdirSync(run.path)).toEqual(['plan.json']);
    expect(readFileSync(earlier.file('report.html'), 'utf8')).toBe('the old report');
    const metrics = run.lines('metrics.jsonl');
    expect(() => metrics.append({ step: 1, loss: 'a long line that will not fit' })).toThrow(/disk is full/u);
  });

  it('says when the parent is no folder', () => {
    const file = join(root, 'file');
    writeFileSync(file, '');
    expect(() => RunFolder.create(join(file, 'runs'), day)).toThrow(InputError);
  });

  it('makes all folders above it that are missing', () => {
    expect(RunFolder.create(join(root, 'a', 'b', 'c'), day).path).toBe(join(root, 'a', 'b', 'c', '2026-11-24-a'));
  });

  // Node's recursive mkdir does not return from there.
  it.runIf(existsSync('/proc/self'))('says when no folder can be made in a place', () => {
    expect(() => RunFolder.create('/proc/runs/of/mine', day)).toThrow(InputError);
  });
});

describe('writeFile', () => {
  it('leaves the old file and nothing else when the rename fails', () => {
    const path = join(root, 'target');
    mkdirSync(path);
    writeFileSync(join(path, 'inside'), 'x');
    expect(() => writeFile(path, 'text')).toThrow(InputError);
    expect(readdirSync(root)).toEqual(['target']);
    expect(existsSync(join(path, 'inside'))).toBe(true);
  });
});

describe('runLetters', () => {
  it('counts like the columns of a spreadsheet', () => {
    expect([0, 25, 26, 51, 52, 701, 702].map(runLetters)).toEqual(['a', 'z', 'aa', 'az', 'ba', 'zz', 'aaa']);
  });
});
