/** The version of this package, which all ranks of a job must share. */
import { readFileSync } from 'node:fs';

export function montaVersion(): string {
  const manifest: unknown = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8'));
  const version = (manifest as { readonly version?: unknown }).version;
  if (typeof version !== 'string') throw new Error('the package.json of @monta/runtime has no version');
  return version;
}
