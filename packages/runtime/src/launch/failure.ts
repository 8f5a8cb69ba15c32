/** How a job ends badly. */
import { InputError } from '@monta/core/units';

/**
 * A rank threw, exited, was terminated, or misused the communicators; the job was stopped. `cause` is the original
 * error if there is one.
 */
export class RankFailure extends Error {
  override readonly name = 'RankFailure';

  constructor(
    /** Global rank; -1 when it was the communication thread itself. */
    readonly rank: number,
    readonly reason: string,
    options?: ErrorOptions,
  ) {
    super(`${rank < 0 ? 'the communication thread' : `rank ${rank}`} failed: ${reason}`, options);
  }
}

/** An error as it crosses threads: structured cloning would lose the names of our own classes. */
export interface PortableError {
  readonly name: string;
  readonly message: string;
  readonly stack: string;
}

export function portable(error: unknown): PortableError {
  if (error instanceof Error) {
    // The place of bad input is a field of its own, which would be lost.
    const message = error instanceof InputError ? error.format().split('\n').join(';') : error.message;
    return { name: error.name, message, stack: error.stack ?? `${error.name}: ${error.message}` };
  }
  const message = String(error);
  return { name: 'Error', message, stack: message };
}

export function restored({ name, message, stack }: PortableError): Error {
  const error = new Error(message);
  error.name = name;
  error.stack = stack;
  return error;
}
