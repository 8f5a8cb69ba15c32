/** Flags and help of `monta studio`; what it does is in `studio.ts`, loaded when it runs. */
import { buildCommand } from '@stricli/core';
import type { MontaContext } from '../context.js';
import { briefs } from './briefs.js';
import { countFlag, helpText, lazy } from './flags.js';
import type { StudioFlags } from './studio.flags.js';

export const studioCommand = buildCommand<StudioFlags, [path?: string], MontaContext>({
  loader: lazy(async () => (await import('./studio.js')).runStudio),
  parameters: {
    flags: {
      port: { ...countFlag('port', 'Port of the loopback interface (default: a free one)', 65_535), optional: true },
    },
    positional: {
      kind: 'tuple',
      parameters: [
        { parse: String, placeholder: 'run|plan.json|trace.json', brief: 'What is shown first', optional: true },
      ],
    },
  },
  docs: {
    brief: briefs.studio,
    fullDescription: helpText(
      'Serves the studio on this machine alone, under an address that holds a secret, and prints the address. It\n' +
        'reads the one file or run folder that is named and writes nothing. Ctrl-C ends it.',
      [
        ['monta studio', 'plan a run, look at one layer'],
        ['monta studio plan.json', 'the question of a plan that monta plan --output wrote'],
        ['monta studio runs/2026-11-24-a', 'a training, as it goes on'],
        ['monta studio trace.json', 'its timeline'],
      ],
    ),
  },
});
