/**
 * Where the processes of a run that somebody else's launcher started meet: on one host at a socket in a folder that
 * only this user can enter, found by the run's name; over several hosts at rank 0's address, with a token that the
 * person has given to all.
 */
import { createHash } from 'node:crypto';
import { lookup } from 'node:dns/promises';
import { lstatSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { networkInterfaces } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { InputError } from '@monta/core/units';
import { makeToken } from './mpi-frames.js';
import { ownRunFolder, runPrefix, sharedFolder } from './private-place.js';
import type { Environment, StartedPlace } from './started-place.js';
import { ownVariables } from './started-variables.js';

export interface Rendezvous {
  /** The path of a socket, or `ip:port`. */
  readonly address: string;
  readonly token: string;
  /** Of a run on one host: where its files lie. */
  readonly folder?: string;
}

export interface RendezvousOptions {
  readonly place: StartedPlace;
  readonly environment: Environment;
  /** Where the folder of a run on one host is made; unless given, where Monta's other files are. */
  readonly base?: string;
}

/** Shorter tokens can be guessed. */
const leastToken = 16;
const lookMilliseconds = 50;
/** A host that says nothing at all is asked again. */
const answerMilliseconds = 2000;

const onOneHost = ({ size, localSize }: StartedPlace): boolean => size === localSize;
const socketOf = (folder: string): string => join(folder, 'launcher');
const tokenFileOf = (folder: string): string => join(folder, 'token');

/** The folder of a run: of this user's, of this name. */
export function runFolder(run: string, base = sharedFolder()): string {
  const name = createHash('sha256').update(run).digest('hex').slice(0, 16);
  return join(base, `${runPrefix}${process.getuid?.() ?? 0}-${name}`);
}

/** Of rank 0: makes the place. Throws `InputError` where another run has it, or where something is missing. */
export async function makeRendezvous({ place, environment, base }: RendezvousOptions): Promise<Rendezvous> {
  if (!onOneHost(place)) {
    const token = givenToken(place, environment);
    return { address: await ownAddress(place, environment), token };
  }
  const folder = runFolder(place.run, base);
  if (await answers(socketOf(folder)))
    throw new InputError(`another run has the name "${place.run}" on this host`, {
      file: 'environment',
      expected: `${ownVariables.run}, a name that no other run has`,
      hint: place.passing,
    });
  // What a killed run left.
  if (isOurs(folder)) rmSync(folder, { recursive: true });
  mkdirSync(folder, { mode: 0o700 });
  ownRunFolder(folder);
  const token = makeToken();
  writeFileSync(tokenFileOf(folder), token, { mode: 0o600 });
  return { address: socketOf(folder), token, folder };
}

/** Of the others: waits until rank 0 is there. Throws `InputError` where it does not come. */
export async function findRendezvous(
  { place, environment, base }: RendezvousOptions,
  startSeconds: number,
): Promise<Rendezvous> {
  const end = performance.now() + startSeconds * 1e3;
  const folder = onOneHost(place) ? runFolder(place.run, base) : undefined;
  const token = folder === undefined ? givenToken(place, environment) : undefined;
  const address = folder === undefined ? await reachable(place, environment) : socketOf(folder);
  for (;;) {
    if ((folder === undefined || isOurs(folder)) && (await answers(address)))
      return folder === undefined
        ? { address, token: token ?? '' }
        : { address, token: readFileSync(tokenFileOf(folder), 'utf8'), folder };
    if (performance.now() > end)
      throw new InputError(`rank ${place.rank} waited ${startSeconds} s for rank 0 at ${address}`, {
        file: 'environment',
        expected: 'rank 0 of the same run, in the same version, on the host of that address',
      });
    await delay(lookMilliseconds);
  }
}

/** Whether a folder is there. Throws `InputError` where it is not this user's alone. */
function isOurs(folder: string): boolean {
  const found = lstatSync(folder, { throwIfNoEntry: false });
  if (found === undefined) return false;
  if (found.isDirectory() && found.uid === process.getuid?.() && (found.mode & 0o077) === 0) return true;
  throw new InputError(`${folder} is somebody else's, or others can enter it`, {
    expected: 'a folder of this user alone, or none',
  });
}

/** Whether somebody listens. */
function answers(address: string): Promise<boolean> {
  const cut = address.lastIndexOf(':');
  return new Promise((resolve) => {
    const socket = address.startsWith('/')
      ? connect(address)
      : connect(Number(address.slice(cut + 1)), address.slice(0, cut));
    const told = (there: boolean): void => {
      socket.destroy();
      resolve(there);
    };
    socket.setTimeout(answerMilliseconds, () => told(false));
    socket.once('connect', () => told(true));
    socket.once('error', () => told(false));
  });
}

function givenToken({ passing, size, localSize }: StartedPlace, environment: Environment): string {
  const file = environment[ownVariables.tokenFile];
  const text = environment[ownVariables.token] ?? (file === undefined ? undefined : tokenIn(file));
  const expected = `${ownVariables.token}, or ${ownVariables.tokenFile} with the path of a file that holds it`;
  if (text === undefined || text === '')
    throw new InputError(
      `ranks on ${size / localSize} hosts meet over TCP, where anybody can call, and no token is given`,
      {
        file: 'environment',
        expected,
        hint: `export ${ownVariables.token}=$(openssl rand -hex 32), the same on all hosts; ${passing}`,
      },
    );
  if (text.length < leastToken)
    throw new InputError(`the token has ${text.length} characters`, {
      file: 'environment',
      expected: `at least ${leastToken}, as of openssl rand -hex 32`,
    });
  return text;
}

function tokenIn(file: string): string {
  const found = statSync(file, { throwIfNoEntry: false });
  if (found === undefined) throw new InputError('there is no such file', { file, expected: 'a token' });
  if ((found.mode & 0o077) !== 0)
    throw new InputError('others can read the token', {
      file,
      expected: `a file of this user alone: chmod 600 ${file}`,
    });
  return readFileSync(file, 'utf8').trim();
}

function needAddress({ address: { host, port }, launcher, passing }: StartedPlace): {
  readonly host: string;
  readonly port: number;
} {
  if (host !== undefined && port !== undefined) return { host, port };
  throw new InputError(
    `${launcher} does not say ${host === undefined ? 'where rank 0 is' : 'on which port of rank 0 the others meet it'}`,
    {
      file: 'environment',
      expected: `${ownVariables.address}=host:port, of the host of rank 0`,
      hint: passing,
    },
  );
}

async function resolved({ host, port }: { readonly host: string; readonly port: number }): Promise<string> {
  try {
    const { address } = await lookup(host);
    return `${address}:${port}`;
  } catch {
    throw new InputError(`no host is called ${host}`, {
      file: 'environment',
      expected: `${ownVariables.address}=host:port`,
    });
  }
}

const expectedAddress = `${ownVariables.address}=host:port, an address of rank 0's host that the others reach`;
const ipOf = (address: string): string => address.slice(0, address.lastIndexOf(':'));

/** Rank 0's address. Every rank refuses one that is each host's own: the others would wait there for nobody. */
async function reachable(place: StartedPlace, environment: Environment): Promise<string> {
  const wanted = needAddress(place);
  const address = await resolved(wanted);
  const ip = ipOf(address);
  const loopback = ip.startsWith('127.') || ip === '::1';
  if (loopback && environment[ownVariables.address] === undefined)
    throw new InputError(`${wanted.host} is ${ip}, which other hosts do not reach`, {
      file: 'environment',
      expected: expectedAddress,
    });
  return address;
}

/** Where rank 0 listens: at that address, on no other. */
async function ownAddress(place: StartedPlace, environment: Environment): Promise<string> {
  const address = await reachable(place, environment);
  const own = Object.values(networkInterfaces()).flatMap((all) => all ?? []);
  if (own.some((one) => one.address === ipOf(address))) return address;
  throw new InputError(
    `${place.address.host} is ${ipOf(address)}, which is no address of this host, where rank 0 runs`,
    { file: 'environment', expected: expectedAddress },
  );
}
