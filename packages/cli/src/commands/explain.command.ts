/** Flags and help of `monta explain`; what it does is in `explain.ts`, loaded when it runs. */
import { buildCommand } from '@stricli/core';
import type { MontaContext } from '../context.js';
import { briefs } from './briefs.js';
import { helpText, jsonFlag, lazy } from './flags.js';
import type { ExplainFlags } from './explain.flags.js';

export const explainCommand = buildCommand<ExplainFlags, [plan: string], MontaContext>({
  loader: lazy(async () => (await import('./explain.js')).runExplain),
  parameters: {
    flags: { json: jsonFlag },
    positional: {
      kind: 'tuple',
      parameters: [{ parse: String, placeholder: 'plan.json', brief: 'What monta plan --output wrote' }],
    },
  },
  docs: {
    brief: briefs.explain,
    fullDescription: helpText(
      'Prices a plan and its runners-up again and prints what monta plan printed: what binds, what is exposed and ' +
        'hidden, bytes,\nmemory of the stages, bounds, margins, what would change the answer. Says where the price ' +
        'differs from that in the file.',
      [['monta explain plan.json', 'why']],
    ),
  },
});
