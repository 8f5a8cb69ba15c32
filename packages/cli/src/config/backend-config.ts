/**
 * Which ranks a run is made of, as its configuration says: `backend: mpi`, and under `mpi` the hosts and how to reach
 * them.
 */
import { getCluster, InputError, type Cluster, type FieldMap } from '@monta/core';
import { mpiLauncher, localLauncher, parseHosts, underMpirun, type Launcher, type MpiHost } from '@monta/runtime';

export type BackendConfig =
  | { readonly kind: 'local' }
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
}

const details = ['hosts', 'bind', 'agent', 'network', 'mpirun'] as const;

/** An agent is a program; options of mpirun name programs and libraries. */
const isCommand = (name: (typeof details)[number]): boolean => name === 'agent' || name === 'mpirun';

/**
 * Reads `backend` and `mpi`, flags over them. Commands are taken from a file only when the person allows it. Under an
 * mpirun of the person's own it is MPI, whatever they say. Throws `InputError`.
 */
export function backendFrom(
  map: FieldMap | undefined,
  overrides: BackendOverrides,
  allowCommands = false,
): BackendConfig {
  const started = startedHosts();
  if (started !== undefined) return { kind: 'mpi', hosts: started };
  const field = map?.get('backend');
  const kind = overrides.backend ?? field?.string() ?? 'local';
  const at = overrides.backend === undefined ? field : undefined;
  if (kind !== 'local' && kind !== 'mpi')
    throw (
      at?.error(`"${kind}" is not a backend`, { expected: 'local or mpi' }) ??
      new InputError(`"${kind}" is not a backend`, { file: '--backend', expected: 'local or mpi' })
    );
  const fields = map?.get('mpi')?.map([...details]);
  if (kind === 'local') {
    const given = details.find((name) => overrides[name] !== undefined);
    if (given !== undefined)
      throw new InputError(`says how to reach hosts, but ranks are threads of this process`, {
        file: `--${given}`,
        expected: '--backend mpi',
      });
    return { kind };
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

/** The hosts of processes that a person's own mpirun started, named by number; undefined when there is none. */
function startedHosts(): MpiHost[] | undefined {
  const place = underMpirun();
  if (place === undefined) return undefined;
  const slots = Number(process.env['OMPI_COMM_WORLD_LOCAL_SIZE'] ?? place.size);
  if (place.size % slots !== 0)
    throw new InputError(`mpirun put ${slots} of ${place.size} processes on the first host`, {
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

/** What runs the ranks of a configuration that no mpirun of the person's own started. */
export function launcherOf(backend: BackendConfig): Launcher {
  if (backend.kind === 'local') return localLauncher;
  const { kind: _kind, ...where } = backend;
  return mpiLauncher(where);
}

/** The keys of the configuration that `backendFrom` reads back. */
export function backendDocument(backend: BackendConfig): Record<string, unknown> {
  if (backend.kind === 'local') return {};
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
