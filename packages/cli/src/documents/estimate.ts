/** Writes docs/estimate.md: `npm run docs:estimate`. */
import { writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { estimatePage } from './estimate-page.js';

writeFileSync(fileURLToPath(new URL('../../../../docs/estimate.md', import.meta.url)), `${estimatePage()}\n`);
process.stdout.write('wrote docs/estimate.md\n');
