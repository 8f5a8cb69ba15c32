/**
 * Which ranks a run is made of, as its configuration says: `backend: mpi`, and under `mpi` the hosts and how to reach
 * them; `backend: nccl`, and under `nccl` how they lie on cards; `device: cuda`.
 */
import type { Cluster, Field, FieldMap } from '@monta/core';
import { InputError, limits } from '@monta/core/units';
import { deviceCount, getCluster } from '@monta/core/cluster';
import type { CardLanes, Launcher, MpiHost } from '@monta/runtime';
import { cudaLauncher, localLauncher, mpiLauncher, ncclLauncher, parseHosts, underMpirun } from '@monta/runtime/launch';
import { ncclRanksPerNode } from './started-run.js';

export type BackendConfig =
  /** Threads of this process, or one of them with this machine's first card. */
  | { readonly kind: 'local'; readonly device?: 'cuda' }
  | {
      /** Processes with a card each. */
      readonly kind: 'nccl';
      /** This machine stands for nodes of so many ranks; absent: for one. */
      readonly ranksPerNode?: number;
      readonly lanes?: CardLanes;
    }
  | {
      readonly kind: 'mpi';
      /** Hosts and their ranks, in rank order, as many on each; absent: all on this machine. */
      readonly hosts?: readonly MpiHost[];
      /** Address of this machine that other hosts reach. */
      readonly bind?: string;
      /** Program that starts a command on another host, instead of ssh. */
      readonly agent?: string;
      /** The network that carries the bytes, `10.0.0.0/24`. */
      readonly network?: string;
      /** Further options of mpirun, over Monta's own. */
      readonly mpirunOptions?: readonly string[];
    };

export interface BackendOverrides {
  readonly backend?: string;
  readonly hosts?: string;
  readonly bind?: string;
  readonly agent?: string;
  readonly network?: string;
  readonly mpirun?: string;
  readonly device?: string;
  readonly ranksPerNode?: number;
}

/** Whether ranks compute on cards. */
export const onCards = (backend: BackendConfig): boolean =>
  backend.kind === 'nccl' || (backend.kind === 'local' && backend.device === 'cuda');

/** Whether bytes between ranks pass a network that is there, and cannot be emulated. */
export const hasOwnNetwork = ({ kind }: BackendConfig): boolean => kind !== 'local';

const details = ['hosts', 'bind', 'agent', 'network', 'mpirun'] as const;

/** An agent is a program; options of mpirun name programs and libraries. */
const isCommand = (name: (typeof details)[number]): boolean => name === 'agent' || name === 'mpirun';

const placeOf = { local: 'threads of this process', nccl: 'processes on cards of this machine' } as const;
const kinds = ['local', 'mpi', 'nccl'] as const;
const devices = ['cpu', 'cuda'] as const;

/** One of some words, from a flag or a file. */
export function choiceOf<Word extends string>(
  map: FieldMap | undefined,
  name: string,
  {
    override,
    words,
    what,
  }: { readonly override: string | undefined; readonly words: readonly Word[]; readonly what: string },
): Word | undefined {
  const field = override === undefined ? map?.get(name) : undefined;
  const text = override ?? field?.string();
  const word = words.find((one) => one === text);
  if (word !== undefined || text === undefined) return word;
  const expected = `${words.slice(0, -1).join(', ')} or ${words.at(-1) ?? ''}`;
  throw (
    field?.error(`"${text}" is not a ${what}`, { expected }) ??
    new InputError(`"${text}" is not a ${what}`, { file: `--${name}`, expected })
  );
}

/** What ranks compute on must be what the backend carries bytes between. */
function checkDevice(kind: (typeof kinds)[number], device: (typeof devices)[number] | undefined): void {
  if (kind === 'mpi' && device === 'cuda')
    throw new InputError('MPI sends from host memory, where nothing of a card lies', {
      file: 'device',
      expected: 'backend nccl for several cards, local for one',
    });
  if (kind === 'nccl' && device === 'cpu')
    throw new InputError('NCCL carries bytes between cards', { file: 'device', expected: 'cuda, or none' });
}

function ncclFrom(map: FieldMap | undefined, { ranksPerNode: given }: BackendOverrides): BackendConfig {
  const fields = map?.get('nccl')?.map(['ranksPerNode', 'multiprocessors', 'priorities']);
  const ranksPerNode = ncclRanksPerNode(given ?? fields?.get('ranksPerNode')?.integer({ max: limits.ranks }));
  const [multiprocessors, priorities] = [
    byLane(fields?.get('multiprocessors'), collectiveLanes, { min: 1, max: limits.multiprocessors }),
    byLane(fields?.get('priorities'), streamLanes, { min: 0, max: highestPriority }),
  ];
  const lanes = {
    ...(multiprocessors === undefined ? {} : { multiprocessors }),
    ...(priorities === undefined ? {} : { priorities }),
  };
  return {
    kind: 'nccl',
    ...(ranksPerNode === undefined ? {} : { ranksPerNode }),
    ...(Object.keys(lanes).length === 0 ? {} : { lanes }),
  };
}

/** Lanes of collectives. */
const collectiveLanes = ['intra', 'inter'];
/** Lanes with a stream, and the sums of gradients in `inter` by the group that they are over. */
const streamLanes = ['compute', 'shared', 'copy', ...collectiveLanes, 'inter dense', 'inter dp', 'inter edp'];
/** Cards have fewer levels; what is above theirs is their highest. */
const highestPriority = 10;

function byLane(
  field: Field | undefined,
  lanes: readonly string[],
  range: { readonly min: number; readonly max: number },
): Record<string, number> | undefined {
  const map = field?.map(lanes);
  if (map === undefined) return undefined;
  return Object.fromEntries(
    lanes.flatMap((lane) => {
      const value = map.get(lane)?.integer(range);
      return value === undefined ? [] : [[lane, value]];
    }),
  );
}

/**
 * Reads `backend`, `device`, `mpi` and `nccl`, flags over them. Commands are taken from a file only when the person
 * allows it. Under an mpirun of the person's own it is MPI, unless they ask for NCCL. Throws `InputError`.
 */
export function backendFrom(
  map: FieldMap | undefined,
  overrides: BackendOverrides,
  allowCommands = false,
): BackendConfig {
  const kind = choiceOf(map, 'backend', { override: overrides.backend, words: kinds, what: 'backend' }) ?? 'local';
  const started = kind === 'nccl' ? undefined : startedHosts();
  if (started !== undefined) return { kind: 'mpi', hosts: started };
  const device = choiceOf(map, 'device', { override: overrides.device, words: devices, what: 'device' });
  checkDevice(kind, device);
  if (kind !== 'nccl' && overrides.ranksPerNode !== undefined)
    throw new InputError('says which nodes cards stand for', { file: '--ranks-per-node', expected: '--backend nccl' });
  const fields = map?.get('mpi')?.map([...details]);
  if (kind !== 'mpi') {
    const given = details.find((name) => overrides[name] !== undefined);
    if (given !== undefined)
      throw new InputError(`says how to reach hosts, but ranks are ${placeOf[kind]}`, {
        file: `--${given}`,
        expected: '--backend mpi',
      });
    if (kind === 'nccl') return ncclFrom(map, overrides);
    return { kind, ...(device === 'cuda' ? { device } : {}) };
  }
  const of = (name: (typeof details)[number]): string | undefined => {
    if (overrides[name] !== undefined) return overrides[name];
    const found = fields?.get(name);
    if (found !== undefined && isCommand(name) && !allowCommands)
      throw found.error('says what is run, and a file may come from anybody', {
        expected: `--${name} on the command line`,
        hint: 'if you know the file: --allow-commands',
      });
    return found?.string();
  };
  const hosts = of('hosts');
  const [bind, agent, network] = [of('bind'), of('agent'), of('network')];
  const mpirunOptions = of('mpirun')
    ?.split(/\s+/u)
    .filter((word) => word !== '');
  return {
    kind,
    ...(hosts === undefined
      ? {}
      : { hosts: alikeHosts(hosts, overrides.hosts === undefined ? 'mpi.hosts' : '--hosts') }),
    ...(bind === undefined ? {} : { bind }),
    ...(agent === undefined ? {} : { agent }),
    ...(network === undefined ? {} : { network }),
    ...(mpirunOptions === undefined ? {} : { mpirunOptions }),
  };
}

function alikeHosts(text: string, file: string): MpiHost[] {
  let hosts: MpiHost[];
  try {
    hosts = parseHosts(text);
  } catch (error) {
    throw error instanceof InputError ? error.at({ file }) : error;
  }
  if (new Set(hosts.map(({ slots }) => slots)).size > 1)
    throw new InputError(`hosts ${text} have different numbers of ranks`, {
      file,
      expected: 'as many ranks on each host: layouts count on nodes that are alike',
    });
  return hosts;
}

/** The hosts of processes that a person's own mpirun or srun started, named by number; undefined when there is none. */
function startedHosts(): MpiHost[] | undefined {
  const place = underMpirun();
  if (place === undefined) return undefined;
  const { localRanks: slots, launcher } = place;
  if (place.size % slots !== 0)
    throw new InputError(`${launcher} put ${slots} of ${place.size} processes on the first host`, {
      expected: 'as many processes on each host: layouts count on nodes that are alike',
    });
  return Array.from({ length: place.size / slots }, (_, index) => ({ name: `host ${index}`, slots }));
}

/** Hosts as a cluster: its structure. Figures of its links are a laptop's until they are measured. */
export function hostsCluster(hosts: readonly MpiHost[]): Cluster {
  const [first] = hosts;
  const { device, tiers } = getCluster('laptop-2x4');
  const [inner, outer] = tiers;
  if (first === undefined || inner === undefined || outer === undefined)
    throw new InputError('there are no hosts', { path: 'mpi.hosts', expected: 'name:ranks,name:ranks' });
  const inside = { ...inner, name: 'host', size: first.slots };
  return {
    name: hosts.map(({ name }) => name).join('+'),
    device,
    tiers: hosts.length === 1 ? [inside] : [inside, { ...outer, name: 'network', size: hosts.length }],
    sources: ['links not measured yet'],
  };
}

/**
 * The backend of a job on part of a cluster: on each host as many ranks as the part has there, since mpirun fills one
 * host after another. Hosts that are not the cluster's nodes are left as they are.
 */
export function backendOnPart(backend: BackendConfig, whole: Cluster, part: Cluster): BackendConfig {
  if (backend.kind !== 'mpi' || backend.hosts === undefined || part === whole) return backend;
  const [node, slots] = [whole.tiers[0]?.size, part.tiers[0]?.size];
  if (slots === undefined || backend.hosts.some((host) => host.slots !== node)) return backend;
  const hosts = backend.hosts.slice(0, deviceCount(part) / slots).map((host) => ({ ...host, slots }));
  return { ...backend, hosts };
}

/** What runs the ranks of a configuration that no mpirun of the person's own started. */
export function launcherOf(backend: BackendConfig): Launcher {
  if (backend.kind === 'local') return backend.device === 'cuda' ? cudaLauncher() : localLauncher;
  if (backend.kind === 'nccl') {
    const { kind: _kind, ...where } = backend;
    return ncclLauncher(where);
  }
  const { kind: _kind, ...where } = backend;
  return mpiLauncher(where);
}

/** A launcher that is there already, with what a configuration says of lanes. */
export function withLanesOf(launcher: Launcher, backend: BackendConfig): Launcher {
  if (backend.kind !== 'nccl' || backend.lanes === undefined) return launcher;
  return launcher.withLanes?.(backend.lanes) ?? launcher;
}

/** The keys of the configuration that `backendFrom` reads back. */
export function backendDocument(backend: BackendConfig): Record<string, unknown> {
  if (backend.kind === 'local') return backend.device === undefined ? {} : { device: backend.device };
  if (backend.kind === 'nccl') {
    const { ranksPerNode, lanes } = backend;
    const nccl = { ...(ranksPerNode === undefined ? {} : { ranksPerNode }), ...lanes };
    return { backend: 'nccl', ...(Object.keys(nccl).length === 0 ? {} : { nccl }) };
  }
  const { kind, hosts, mpirunOptions, ...rest } = backend;
  return {
    backend: kind,
    mpi: {
      ...(hosts === undefined ? {} : { hosts: hosts.map((h) => `${h.name}:${h.slots}`).join(',') }),
      ...rest,
      ...(mpirunOptions === undefined ? {} : { mpirun: mpirunOptions.join(' ') }),
    },
  };
}
