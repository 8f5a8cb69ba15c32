/** The command line of mpirun. */
import { InputError, limits } from '@monta/core/units';

export interface MpiHost {
  readonly name: string;
  /** Ranks on it. */
  readonly slots: number;
}

export interface MpirunSettings {
  readonly ranks: number;
  /** In rank order; absent: this machine. */
  readonly hosts?: readonly MpiHost[];
  /** Program that starts a command on another host (`agent host command…`) instead of ssh; an absolute path. */
  readonly agent?: string;
  /** The network that carries the ranks' bytes, as `10.0.0.0/24`. */
  readonly network?: string;
  /** Of a job on this machine alone: the folder for Open MPI's files. */
  readonly folder?: string;
  /** Seconds after which mpirun's own connections count as broken. */
  readonly lostAfterSeconds: number;
  /** Further options, after Monta's own: a later `--mca` of the same name wins. */
  readonly mpirunOptions?: readonly string[];
  /** Names of environment variables that ranks on other hosts need. */
  readonly environment: readonly string[];
  readonly command: readonly string[];
}

/**
 * Reads `a:8,b:8` (ranks per host; without a number, 1). Names are those of hosts and addresses, so that none is taken
 * for an option or a command by what gets them. Throws `InputError`.
 */
export function parseHosts(text: string): MpiHost[] {
  const hosts = text.split(',').map((item) => {
    const match = /^(\w[\w.-]*)(?::(\d+))?$/.exec(item.trim());
    const slots = Number(match?.[2] ?? 1);
    if (match?.[1] === undefined || slots < 1)
      throw new InputError(`cannot read "${item}" in hosts "${text}"`, { expected: 'name:ranks,name:ranks…' });
    return { name: match[1], slots };
  });
  const ranks = hosts.reduce((sum, { slots }) => sum + slots, 0);
  if (ranks > limits.startedRanks)
    throw new InputError(`${ranks} ranks on ${hosts.length} hosts`, { expected: `at most ${limits.startedRanks}` });
  return hosts;
}

/** Whether ranks run on other machines. */
export const hasRemoteHosts = (hosts: readonly MpiHost[] | undefined): boolean =>
  hosts?.some(({ name }) => name !== 'localhost') ?? false;

/**
 * Arguments of mpirun, its own program name aside. Parameters that `mpirunOptions` set are left to them: mpirun refuses
 * two values.
 */
export function mpirunArguments(settings: MpirunSettings): string[] {
  const { ranks, hosts, mpirunOptions = [] } = settings;
  const slots = hosts?.reduce((sum, host) => sum + host.slots, 0) ?? ranks;
  if (slots < ranks) {
    throw new InputError(
      `${ranks} ranks do not fit ${slots} slots of hosts ${hosts?.map(({ name }) => name).join(', ')}`,
    );
  }
  const given = new Set(mpirunOptions.filter((_, index) => /^--?g?mca$/.test(mpirunOptions[index - 1] ?? '')));
  const parameters = Object.entries(mcaParameters(settings)).flatMap(([name, value]) =>
    value === undefined || given.has(name) ? [] : ['--mca', name, String(value)],
  );
  return [
    ...(process.getuid?.() === 0 ? ['--allow-run-as-root'] : []),
    '-n',
    String(ranks),
    '--oversubscribe',
    '--map-by',
    'slot',
    // Ranks have threads of their own (V8, TCP, the line to the launcher): no core is theirs alone.
    '--bind-to',
    'none',
    ...(hosts === undefined ? [] : ['--host', hosts.map((host) => `${host.name}:${host.slots}`).join(',')]),
    ...parameters,
    ...mpirunOptions,
    ...settings.environment.flatMap((name) => ['-x', name]),
    ...settings.command,
  ];
}

const eagerBytes = 512 << 10;

function mcaParameters(settings: MpirunSettings): Record<string, string | number | undefined> {
  const { agent, network, lostAfterSeconds, folder } = settings;
  const remote = hasRemoteHosts(settings.hosts);
  return {
    plm_rsh_agent: agent,
    // Plain messages: what the figures in docs/two-hosts.md were measured with, whatever else is installed.
    pml: 'ob1',
    // On one machine ranks listen on no port at all.
    btl: remote ? 'self,vader,tcp' : 'self,vader',
    btl_tcp_if_include: network,
    oob_tcp_if_include: remote ? network : 'lo',
    // What a killed mpirun leaves lies where its launcher, or the next one, finds it.
    orte_tmpdir_base: folder,
    btl_vader_backing_directory: folder,
    // A thread takes in and answers what arrives while the rank computes.
    btl_tcp_progress_thread: 1,
    btl_tcp_flags: 'send',
    // Messages up to this size, and the beginning of longer ones, go off without asking: an answer would wait behind
    // the bytes of others.
    btl_tcp_eager_limit: eagerBytes,
    btl_tcp_rndv_eager_limit: eagerBytes,
    btl_tcp_max_send_size: eagerBytes,
    // Ranks that wait nap by themselves; yielding in every look would put them behind all that wait for a core.
    mpi_yield_when_idle: 0,
    oob_tcp_keepalive_time: lostAfterSeconds,
    oob_tcp_keepalive_intvl: Math.max(1, Math.round(lostAfterSeconds / 3)),
    oob_tcp_keepalive_probes: 3,
  };
}
