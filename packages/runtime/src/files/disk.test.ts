/** Files are whole at any time: what a reader finds beside a writer, behind links, in devices and after failures. */
import { mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync, statSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { realDisk, writeFileAtomically, type Disk } from './disk.js';

const folder = mkdtempSync(join(tmpdir(), 'monta-disk-'));
afterAll(() => rmSync(folder, { recursive: true }));
const file = join(folder, 'report.json');

describe('a file that is written atomically', () => {
  it('replaces what was there, and leaves nothing beside it', () => {
    for (const content of ['{"a":1}', '{}', ['[1,', '2]'], Uint8Array.of(53)]) writeFileAtomically(file, content);
    expect(readFileSync(file, 'utf8')).toBe('5');
    expect(readdirSync(folder)).toEqual(['report.json']);
  });

  it('goes on where the system takes less than it is given', () => {
    const slow: Disk = { ...realDisk, write: (to, bytes, at) => realDisk.write(to, bytes, at, 1, null) };
    writeFileAtomically(file, 'byte by byte', slow);
    expect(readFileSync(file, 'utf8')).toBe('byte by byte');
  });

  it.each(['sync', 'rename'] as const)('stays as it was where %s fails', (what) => {
    writeFileAtomically(file, 'before');
    const full = (): never => {
      throw new Error('full');
    };
    expect(() => writeFileAtomically(file, 'after', { ...realDisk, [what]: full })).toThrow('full');
    expect(readFileSync(file, 'utf8')).toBe('before');
    expect(readdirSync(folder)).toEqual(['report.json']);
  });

  it('is the one behind a link, and what is no file takes the bytes as they come', () => {
    const link = join(folder, 'link');
    symlinkSync(file, link);
    writeFileAtomically(link, 'through');
    expect([readFileSync(file, 'utf8'), readlinkSync(link)]).toEqual(['through', file]);
    writeFileAtomically('/dev/null', 'x');
    expect(statSync('/dev/null').isCharacterDevice()).toBe(true);
  });
});
