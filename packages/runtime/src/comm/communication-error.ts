/** Misuse that ends the job; `rank` is the one named as its cause. */
export class CommunicationError extends Error {
  override readonly name = 'CommunicationError';
  constructor(
    readonly rank: number,
    message: string,
  ) {
    super(message);
  }
}
