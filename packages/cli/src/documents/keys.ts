/** Writes docs/keys.md, every key of every file: `npm run docs:keys`. */
import { writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { keysPage } from './keys-page.js';

writeFileSync(fileURLToPath(new URL('../../../../docs/keys.md', import.meta.url)), keysPage());
process.stdout.write('wrote docs/keys.md\n');
