import { existsSync } from 'node:fs';
import { InputError } from '@monta/core/units';

/** To be thrown about a path that is no folder. */
export const noFolder = (path: string, expected: string): InputError =>
  existsSync(path)
    ? new InputError('is a file', { file: path, expected, hint: 'name the folder that holds it' })
    : new InputError('there is no such folder', { file: path, expected, hint: 'check the path' });
