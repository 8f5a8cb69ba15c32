import { spawnSync } from 'node:child_process';
import {
  closeSync,
  constants,
  lstatSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, it } from 'vitest';
import { writeFile } from './files.js';

const folder = mkdtempSync(join(tmpdir(), 'monta-files-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

it('writes into a pipe, and leaves it a pipe', () => {
  const pipe = join(folder, 'pipe');
  spawnSync('mkfifo', [pipe]);
  const reader = openSync(pipe, constants.O_RDONLY | constants.O_NONBLOCK);
  writeFile(pipe, 'plan');
  const read = Buffer.alloc(16);
  expect(read.toString('utf8', 0, readSync(reader, read))).toBe('plan');
  closeSync(reader);
  expect(lstatSync(pipe).isFIFO()).toBe(true);
});

it('writes the file that a link stands for, and leaves the link and nothing else', () => {
  const [target, link] = [join(folder, 'target.json'), join(folder, 'link.json')];
  writeFileSync(target, 'old');
  symlinkSync(target, link);
  writeFile(link, 'new');
  expect(readFileSync(target, 'utf8')).toBe('new');
  expect(lstatSync(link).isSymbolicLink()).toBe(true);
  expect(readdirSync(folder).sort()).toEqual(['link.json', 'pipe', 'target.json']);
});
