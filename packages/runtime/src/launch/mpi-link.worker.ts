/**
 * A rank's line to its launcher, in a thread of its own: it beats and listens while the rank's thread computes or
 * waits, and ends the process when the job is over and the rank does not leave by itself.
 */
import { connect } from 'node:net';
import { parentPort, workerData } from 'node:worker_threads';
import { FrameReader } from '../comm/frames.js';
import {
  beatMilliseconds,
  isFromLauncher,
  sendFrame,
  sendToken,
  type FromLauncher,
  type FromRank,
  type WatchedJob,
} from './mpi-frames.js';
import type { LinkData, LinkNote } from './mpi-link.js';

const graceMilliseconds = 1500;
/** Until the launcher has said how long silence may last. */
const firstPatienceSeconds = 60;

const port = parentPort;
if (port === null) throw new Error('this module runs in a thread of a rank');
const { address, token, hello, endsProcess, state, text } = workerData as LinkData;
const flag = new Int32Array(state);
const note = (message: LinkNote<WatchedJob>): void => port.postMessage(message);
let heard = performance.now();
let patienceSeconds = firstPatienceSeconds;
let ending = false;
let welcomed = false;

const cut = address.lastIndexOf(':');
const socket = address.startsWith('/')
  ? connect(address)
  : connect(Number(address.slice(cut + 1)), address.slice(0, cut));
socket.setNoDelay(true);
sendToken(socket, token);
sendFrame(socket, hello);

const leave = (): void => {
  ending = true;
  clearInterval(timer);
  socket.end();
  port.close();
};

/** Tells the rank's thread, and ends the process if that does not. */
function end(reason: string): void {
  if (ending) return;
  ending = true;
  const bytes = new TextEncoder().encode(reason).subarray(0, text.byteLength);
  new Uint8Array(text).set(bytes);
  Atomics.store(flag, 1, bytes.length);
  Atomics.store(flag, 0, 1);
  note({ kind: 'aborted', reason });
  if (endsProcess) setTimeout(() => process.kill(process.pid, 'SIGKILL'), graceMilliseconds);
  else leave();
}

const reader = new FrameReader<FromLauncher<WatchedJob>>({
  isFrame: isFromLauncher,
  receive: (frame) => {
    heard = performance.now();
    if (frame.kind === 'abort') end(frame.reason);
    if (frame.kind === 'told' || frame.kind === 'peers') note(frame);
    if (frame.kind !== 'welcome') return;
    welcomed = true;
    patienceSeconds = frame.job.lostAfterSeconds;
    note({ kind: 'welcome', job: frame.job, ownAddress: socket.localAddress ?? '' });
  },
  refused: (reason) => end(`the launcher sent ${reason}`),
});
socket.on('data', (piece) => reader.push(piece));
const closed = (): void => {
  const before = welcomed ? '' : ' before it let this rank in: is the token the same on all hosts?';
  end(`the launcher closed the connection${before}`);
};
socket.on('error', ({ message, code }: NodeJS.ErrnoException) => {
  // What it closes before it has read all that was sent is reset.
  if (code === 'ECONNRESET' && !welcomed) closed();
  else end(`the connection to the launcher at ${address} failed: ${message}`);
});
socket.on('close', closed);

const beat: FromRank = { kind: 'beat' };
const timer = setInterval(() => {
  if (socket.writable) sendFrame(socket, beat);
  if (performance.now() - heard > patienceSeconds * 1000) {
    end(`the launcher has not been heard from for ${patienceSeconds} s`);
  }
}, beatMilliseconds);

port.on('message', (message: FromRank | { readonly kind: 'leave' }) => {
  if (message.kind === 'leave') {
    // The rank has left MPI: nothing is lost when the process ends now.
    leave();
    return;
  }
  sendFrame(socket, message, message.kind === 'message' ? undefined : () => note({ kind: 'sent', what: message.kind }));
});
