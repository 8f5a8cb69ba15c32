/** What ranks tell each other beside NCCL. */

export type Message =
  | { readonly kind: 'hello'; readonly rank: number }
  /** From rank 0: when the job began on the machine's clock. */
  | { readonly kind: 'epoch'; readonly seconds: number }
  /** The sender has submitted an operation to a channel; words as `encodeOperation` writes them. */
  | { readonly kind: 'operation'; readonly channel: string; readonly words: Int32Array; readonly label: string }
  /** What a channel's members join NCCL by; from its first member. */
  | { readonly kind: 'identity'; readonly channel: string; readonly identity: Uint8Array }
  /** An operation of a channel started on the sender's card, in seconds of the job's clock; only when tracing. */
  | { readonly kind: 'started'; readonly channel: string; readonly sequence: number; readonly seconds: number }
  /** The sender submits nothing more. */
  | { readonly kind: 'leaving' };

const kinds: readonly string[] = [
  'hello',
  'epoch',
  'operation',
  'identity',
  'started',
  'leaving',
] satisfies Message['kind'][];

/**
 * Whether a decoded value is a message: its senders have shown the job's token, so that its fields are as they write
 * them.
 */
export const isMessage = (value: unknown): value is Message =>
  typeof value === 'object' && value !== null && 'kind' in value && kinds.includes(String(value.kind));
