/** A job of one rank: no peers, no threads, no collectives. */
import type { Endpoint } from './communicator.js';

/** A job of one rank without threads. */
export class LoneEndpoint implements Endpoint {
  readonly backend = 'local';
  readonly rank = 0;
  readonly size = 1;

  /** onClose: told when the rank has nothing more to say. */
  constructor(private readonly onClose: () => void = () => undefined) {}

  communicator(): never {
    throw new Error('a job of one rank has nobody to communicate with');
  }
  progress(): void {}
  now(): number {
    return performance.now() / 1000;
  }
  takeRecords(): never[] {
    return [];
  }
  close(): void {
    this.onClose();
  }
}
