/** `npm run bundle:gpu [folder]`: see gpu-bundle.ts. */
import { fileURLToPath } from 'node:url';
import { bundleBytes, writeBundle } from './gpu-bundle.js';

const root = fileURLToPath(new URL('../../../../', import.meta.url));
const folder = process.argv[2] ?? `${root}gpu-bundle`;
const bytes = writeBundle(root, folder, (text) => {
  process.stderr.write(`${text}\n`);
});
const mib = (count: number): string => (count / 2 ** 20).toFixed(1);
process.stdout.write(`${folder}: ${mib(bytes)} of ${mib(bundleBytes)} MiB. On the host: ./run FILE.json\n`);
