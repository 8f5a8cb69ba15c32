/** Writes docs/plan.schema.json, the JSON Schema of a plan: `npm run docs:plan-schema`. */
import { writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { planJsonSchema } from '@monta/core';

const file = fileURLToPath(new URL('../../../../docs/plan.schema.json', import.meta.url));
writeFileSync(file, `${JSON.stringify(planJsonSchema(), null, 2)}\n`);
process.stdout.write('wrote docs/plan.schema.json\n');
