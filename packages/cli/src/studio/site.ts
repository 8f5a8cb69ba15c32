/** Where the built page lies. */
import { InputError } from '@monta/core';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** Throws `InputError` where it was not built. */
export function siteFolder(): string {
  const folder = fileURLToPath(new URL('../../../studio/dist/', import.meta.url));
  if (!existsSync(join(folder, 'index.html')))
    throw new InputError('the page of the studio is not built', {
      expected: 'packages/studio/dist/index.html',
      hint: 'npm run build:studio',
    });
  return folder;
}
