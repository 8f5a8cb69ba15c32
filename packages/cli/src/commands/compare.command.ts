/** Flags and help of `monta compare`; what it does is in `compare.ts`, loaded when it runs. */
import { buildCommand } from '@stricli/core';
import type { MontaContext } from '../context.js';
import { briefs } from './briefs.js';
import { helpText, jsonFlag, lazy } from './flags.js';
import type { CompareFlags } from './compare.flags.js';

const file = { parse: String, placeholder: 'plan.json', brief: 'What monta plan --output wrote' };

export const compareCommand = buildCommand<CompareFlags, [first: string, second: string], MontaContext>({
  loader: lazy(async () => (await import('./compare.js')).runCompare),
  parameters: {
    flags: { json: jsonFlag },
    positional: { kind: 'tuple', parameters: [file, file] },
  },
  docs: {
    brief: briefs.compare,
    fullDescription: helpText(
      'Prices both plans again and prints what differs between them: what they are for, what was chosen, and where ' +
        "the step's\nseconds and the bytes go.",
      [['monta compare a.json b.json', 'two plans']],
    ),
  },
});
