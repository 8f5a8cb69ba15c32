/** Writes docs/memory.md: `npm run docs:memory`. */
import { writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { memoryPage } from './memory-page.js';

writeFileSync(fileURLToPath(new URL('../../../../docs/memory.md', import.meta.url)), memoryPage());
process.stdout.write('wrote docs/memory.md\n');
