/** Which rank of whose run this process is, where a launcher of somebody else's started it. */
import { InputError } from '@monta/core/units';
import { launcherVariables, ownVariables, type LauncherVariables } from './started-variables.js';

export type Environment = Readonly<Record<string, string | undefined>>;

export interface StartedPlace {
  readonly launcher: string;
  readonly rank: number;
  readonly size: number;
  readonly localRank: number;
  /** As many ranks on every host, in a row. */
  readonly localSize: number;
  /** Names the run: the same on all its processes. */
  readonly run: string;
  /** Where rank 0 is, as far as anything says so. */
  readonly address: { readonly host?: string; readonly port?: number };
  /** How a job of so many ranks is started, and how a variable gets to its processes. */
  readonly starts: (ranks: number) => string;
  readonly passing: string;
}

/** Ports that a run without one takes, from its number. */
const [firstPort, ports] = [20_000, 20_000];
const mostPort = 65_535;

/**
 * Reads the environment; undefined where nobody started several processes. Throws `InputError` where variables are
 * missing or contradict each other.
 */
export function startedPlace(environment: Environment): StartedPlace | undefined {
  const set = (name: string): boolean => (environment[name] ?? '') !== '';
  const found = launcherVariables.find(({ signs }) => signs.every(set));
  if (found === undefined) return withoutLauncher(environment);
  const place = placeBy(found, environment);
  return place.size === 1 ? undefined : place;
}

/** RANK and WORLD_SIZE that a person set; a lone PMIX_RANK. */
function withoutLauncher(environment: Environment): undefined {
  const wanted = ['RANK', 'WORLD_SIZE'];
  const there = wanted.filter((name) => (environment[name] ?? '') !== '');
  if (there.length > 0 && Number(environment['WORLD_SIZE'] ?? 2) > 1)
    throw new InputError(`${there.join(' and ')} without a launcher that is known`, {
      file: 'environment',
      expected: `the variables of ${launcherVariables.map(({ launcher }) => launcher).join(', ')}`,
      hint: 'unset them to start the ranks from here, or set TORCHELASTIC_RUN_ID, and what else torchrun sets',
    });
  return undefined;
}

class Reader {
  constructor(
    readonly variables: LauncherVariables,
    readonly environment: Environment,
  ) {}

  text(names: readonly string[]): { readonly name: string; readonly value: string } | undefined {
    for (const name of names) {
      const value = this.environment[name];
      if (value !== undefined && value !== '') return { name, value };
    }
    return undefined;
  }

  wrong(problem: string, expected: string): InputError {
    return new InputError(`${this.variables.launcher} started this process, but ${problem}`, {
      file: 'environment',
      expected,
    });
  }

  need(names: readonly string[]): { readonly name: string; readonly value: string } {
    const found = this.text(names);
    if (found === undefined)
      throw this.wrong(`${names.join(' and ')} ${names.length > 1 ? 'are' : 'is'} not set`, names.join(' or '));
    return found;
  }

  count(names: readonly string[], least: number): { readonly name: string; readonly value: number } {
    const { name, value } = this.need(names);
    if (!/^\d{1,9}$/u.test(value) || Number(value) < least)
      throw this.wrong(`${name} is "${value}"`, `a whole number, at least ${least}`);
    return { name, value: Number(value) };
  }
}

function placeBy(variables: LauncherVariables, environment: Environment): StartedPlace {
  const reader = new Reader(variables, environment);
  const rank = reader.count(variables.rank, 0);
  const size = reader.count(variables.size, 1);
  if (rank.value >= size.value)
    throw reader.wrong(
      `${rank.name} is ${rank.value} and ${size.name} is ${size.value}`,
      `ranks from 0 to ${size.value - 1}`,
    );
  const localRank = reader.count(variables.localRank, 0);
  const localSize = localSizeOf(reader, size.value);
  checkSame(reader, { rank: rank.value, size: size.value });
  if (size.value % localSize !== 0 || rank.value % localSize !== localRank.value)
    throw reader.wrong(
      `rank ${rank.value} of ${size.value} is place ${localRank.value} of ${localSize} on its host`,
      'as many ranks on every host, those of a host one after another: layouts count on nodes that are alike',
    );
  return {
    launcher: variables.launcher,
    rank: rank.value,
    size: size.value,
    localRank: localRank.value,
    localSize,
    run: runOf(reader),
    address: addressOf(reader),
    starts: variables.starts,
    passing: variables.passing,
  };
}

function localSizeOf(reader: Reader, size: number): number {
  const { localSize, tasksPerHost } = reader.variables;
  if (tasksPerHost === undefined) return reader.count(localSize, 1).value;
  const { name, value } = reader.need(tasksPerHost);
  const counts = value.split(',').flatMap((one) => {
    const [, tasks, times = '1'] = /^(\d+)(?:\(x(\d+)\))?$/u.exec(one.trim()) ?? [];
    if (tasks === undefined) throw reader.wrong(`${name} is "${value}"`, 'ranks of every host, as 8(x2)');
    return [{ tasks: Number(tasks), times: Number(times) }];
  });
  const [first = { tasks: size, times: 1 }] = counts;
  const together = counts.reduce((sum, { tasks, times }) => sum + tasks * times, 0);
  if (counts.some(({ tasks }) => tasks !== first.tasks) || together !== size || first.tasks < 1)
    throw reader.wrong(`${name} is "${value}" for ${size} ranks`, 'as many ranks on every host');
  return first.tasks;
}

/** RANK and WORLD_SIZE, which people set beside a launcher's own, must not say something else. */
function checkSame(reader: Reader, own: { readonly rank: number; readonly size: number }): void {
  for (const [name, value] of [
    ['RANK', own.rank],
    ['WORLD_SIZE', own.size],
  ] as const) {
    const said = reader.environment[name];
    if (said !== undefined && said !== '' && said !== String(value))
      throw reader.wrong(`${name} is ${said}, where it says ${value}`, `${name}=${value}, or none`);
  }
}

function runOf(reader: Reader): string {
  const { run, launcher, passing } = reader.variables;
  const own = reader.text([ownVariables.run])?.value;
  const parts = own === undefined ? run.flatMap((name) => reader.text([name])?.value ?? []) : [own];
  if (parts.length === 0)
    throw new InputError(`${launcher} does not say which run this is`, {
      file: 'environment',
      expected: `${ownVariables.run}, any name that no other run has`,
      hint: passing,
    });
  return [launcher, ...parts].join(' ');
}

function addressOf(reader: Reader): StartedPlace['address'] {
  const { address, hosts = [], port: portNames, portOffset, run } = reader.variables;
  const own = reader.text([ownVariables.address])?.value;
  const [, host, text] = /^(.+?)(?::(\d+))?$/u.exec(own ?? '') ?? [];
  const listed = reader.text(hosts)?.value;
  const first = listed === undefined ? undefined : firstHost(listed);
  const near = reader.text(portNames)?.value;
  const job = reader.text(run)?.value ?? '';
  const ofJob = /^\d+$/u.test(job) && hosts.length > 0 ? firstPort + (Number(job) % ports) : undefined;
  const port = text ?? (near === undefined ? ofJob : Number(near) + portOffset);
  if (port !== undefined && !(Number(port) >= 1 && Number(port) <= mostPort))
    throw reader.wrong(`the port of rank 0 is ${port}`, `a port from 1 to ${mostPort}`);
  const found = host ?? reader.text(address)?.value ?? first;
  return {
    ...(found === undefined ? {} : { host: found }),
    ...(port === undefined ? {} : { port: Number(port) }),
  };
}

/**
 * The first of Slurm's hosts: `node[01-04,07],gpu3` begins with node01, `rack[0-3]_blade[5-9]` with rack0_blade5.
 * Undefined for what it does not write.
 */
export function firstHost(list: string): string | undefined {
  const [first] = /^[\w.-](?:[\w.-]|\[\d[\d,-]*\])*(?=,|$)/u.exec(list.trim()) ?? [];
  return first?.replace(/\[(\d+)[^\]]*\]/gu, '$1');
}
