/** What ranks and their launcher say to each other over a socket. */
import { randomBytes } from 'node:crypto';
import type { Socket } from 'node:net';
import { frameBytes, greetingBytes } from '../comm/frames.js';
import type { PortableError } from './failure.js';

/** The job, as every rank gets it. */
export interface MpiJobDescription {
  readonly workerModule: string;
  readonly data: unknown;
  readonly memoryBytes: number;
  readonly maximumMemoryBytes: number | undefined;
  readonly trace: boolean;
  readonly stuckAfterSeconds: number | undefined;
  readonly lostAfterSeconds: number;
}

/** What a rank must know of any job. */
export interface WatchedJob {
  readonly lostAfterSeconds: number;
}

export type FromRank =
  | {
      readonly kind: 'hello';
      readonly rank: number;
      readonly size: number;
      readonly host: string;
      readonly pid: number;
      readonly version: string;
    }
  | { readonly kind: 'beat' }
  | { readonly kind: 'message'; readonly message: unknown }
  /** Where the rank listens for the others, `ip:port`. */
  | { readonly kind: 'listening'; readonly address: string }
  | { readonly kind: 'result'; readonly result: unknown }
  /** `rank`: who caused it, where the rank knows. */
  | { readonly kind: 'failed'; readonly rank: number; readonly error: PortableError };

export type FromLauncher<Job extends WatchedJob = MpiJobDescription> =
  | { readonly kind: 'welcome'; readonly job: Job }
  | { readonly kind: 'beat' }
  | { readonly kind: 'told'; readonly message: unknown }
  /** Where all ranks listen, by rank. */
  | { readonly kind: 'peers'; readonly addresses: readonly string[] }
  | { readonly kind: 'abort'; readonly reason: string };

/**
 * Environment of a rank: where its launcher listens, and the token (on no command line, where other users could read
 * it).
 */
export const launcherVariable = 'MONTA_MPI_LAUNCHER';
export const tokenVariable = 'MONTA_MPI_TOKEN';

export const beatMilliseconds = 1000;
const tokenBytes = 32;

export function makeToken(): string {
  return randomBytes(tokenBytes).toString('hex');
}

/** The first thing a rank sends. */
export function sendToken(socket: Socket, token: string): void {
  socket.write(greetingBytes(token));
}

export function sendFrame(socket: Socket, frame: FromRank | FromLauncher<WatchedJob>, sent?: () => void): void {
  socket.write(frameBytes(frame), sent);
}

const hasKind = (value: unknown): value is { readonly kind: string } =>
  typeof value === 'object' && value !== null && 'kind' in value && typeof value.kind === 'string';

const areText = (...values: unknown[]): boolean => values.every((value) => typeof value === 'string');

/** Whether a decoded value is something that a rank says. */
export function isFromRank(value: unknown): value is FromRank {
  if (!hasKind(value)) return false;
  const frame = value as Readonly<Record<string, unknown>>;
  switch (value.kind) {
    case 'hello':
      return areText(frame['host'], frame['version']) && [frame['rank'], frame['size']].every(Number.isSafeInteger);
    case 'listening':
      return areText(frame['address']);
    case 'failed': {
      const error = frame['error'] as Partial<PortableError> | null | undefined;
      return Number.isSafeInteger(frame['rank']) && areText(error?.name, error?.message, error?.stack);
    }
    default:
      return ['beat', 'message', 'result'].includes(value.kind);
  }
}

/** Whether a decoded value is something that a launcher says. */
export const isFromLauncher = (value: unknown): value is FromLauncher<WatchedJob> =>
  hasKind(value) && ['welcome', 'beat', 'told', 'peers', 'abort'].includes(value.kind);
