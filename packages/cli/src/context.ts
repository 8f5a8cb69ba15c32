/** What every command gets as `this`. */
import type { CommandContext } from '@stricli/core';
import type { Console } from './output/console.js';

export interface MontaContext extends CommandContext {
  readonly console: Console;
  readonly env: Readonly<Record<string, string | undefined>>;
}
