/** Where the built page lies. */
import { InputError } from '@monta/core/units';
import { createRequire } from 'node:module';
import { dirname } from 'node:path';

/** Throws `InputError` where it was not built. */
export function siteFolder(): string {
  try {
    return dirname(createRequire(import.meta.url).resolve('@monta/studio/index.html'));
  } catch {
    throw new InputError('the page of the studio is not built', {
      expected: 'dist/index.html of the package @monta/studio',
      hint: 'npm run build:studio',
    });
  }
}
