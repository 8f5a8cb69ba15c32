/** `monta completion bash|zsh|fish`: what a shell needs to complete command lines; the commands' own data answers. */
import { buildCommand } from '@stricli/core';
import type { MontaContext } from '../context.js';
import { briefs } from './briefs.js';
import { helpText } from '../help.js';
import { lazy } from './flags.js';
import { shells, type CompletionFlags, type Shell } from './completion.flags.js';

export const completionCommand = buildCommand<CompletionFlags, [shell: Shell], MontaContext>({
  loader: lazy(async () => (await import('./completion.js')).runCompletion),
  parameters: {
    positional: {
      kind: 'tuple',
      parameters: [
        {
          parse: (text: string): Shell => {
            const shell = shells.find((one) => one === text.toLowerCase());
            if (shell === undefined) throw new Error(`"${text}" is not one of ${shells.join(', ')}`);
            return shell;
          },
          proposeCompletions: (partial: string) => shells.filter((shell) => shell.startsWith(partial)),
          placeholder: 'bash|zsh|fish',
          brief: 'The shell',
        },
      ],
    },
  },
  docs: {
    brief: briefs.completion,
    fullDescription: helpText(
      'Prints a script for bash, zsh or fish. With it, TAB completes commands, flags and their values; for what is ' +
        'a path, the shell completes files.',
      [
        ['monta completion bash >> ~/.bashrc', ''],
        ['monta completion zsh >> ~/.zshrc', ''],
        ['monta completion fish > ~/.config/fish/completions/monta.fish', ''],
      ],
    ),
  },
});
