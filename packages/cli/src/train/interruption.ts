/** Runs that are stopped: where they were, and the command that goes on from there. */
import { Interrupted } from '../errors.js';
import { quoted } from '../output/typed-command.js';
import type { RunFolder } from '../run-folder.js';

/** How far a run has come, for whoever stops it. */
export class Whereabouts {
  done = 0;
  saved = 0;

  constructor(
    readonly steps: number,
    readonly folder: RunFolder,
  ) {}

  /** The command that goes on from the last checkpoint; undefined before the first. */
  get goOn(): string | undefined {
    if (this.saved === 0) return undefined;
    const { folder } = this;
    return `monta train ${quoted(folder.file('config.yaml'))} --resume ${quoted(folder.file('checkpoints'))}`;
  }

  toString(): string {
    const where = this.done === 0 ? 'before the first step' : `after step ${this.done} of ${this.steps}`;
    const { goOn } = this;
    return goOn === undefined
      ? `interrupted ${where}; nothing was saved yet`
      : `interrupted ${where}; go on from step ${this.saved} with\n  ${goOn}`;
  }
}

/** Runs `body` with a signal that Ctrl-C and SIGTERM abort. */
export async function interruptible<T>(where: Whereabouts, body: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const controller = new AbortController();
  const stop = (): void => controller.abort(new Interrupted(where.toString()));
  process.once('SIGINT', stop);
  process.once('SIGTERM', stop);
  try {
    return await body(controller.signal);
  } finally {
    process.removeListener('SIGINT', stop);
    process.removeListener('SIGTERM', stop);
  }
}
