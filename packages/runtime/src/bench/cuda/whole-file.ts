/** Files that are whole whenever their writer is ended. */
import { renameSync, statSync, writeFileSync } from 'node:fs';

/** Writes beside a file, then puts it in its place; what is no file (`/dev/null`) is written to as it is. */
export function writeWhole(file: string, text: string): void {
  const there = statSync(file, { throwIfNoEntry: false });
  if (there !== undefined && !there.isFile()) {
    writeFileSync(file, text);
    return;
  }
  writeFileSync(`${file}.part`, text);
  renameSync(`${file}.part`, file);
}
