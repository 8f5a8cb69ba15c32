/**
 * The failure suite: makes things go wrong between two hosts and checks that each job ends, or goes on, as docs/mpi.md
 * says, within the time stated there, with the rank named and no process left. Run it on the hosts that
 * `scripts/two-hosts` makes: `scripts/two-hosts -- node packages/runtime/dist/failures/main.js [--smoke]`.
 */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { launchMpi, RankFailure, type MpiLaunchOptions } from '#runtime/launch/index.js';
import { fillDisk } from './full-disk.js';
import type { FailureJob } from './sums.worker.js';

const {
  TWO_HOSTS_ADDRESS: bind,
  TWO_HOSTS_AGENT: agent,
  TWO_HOSTS_LINK: link,
  TWO_HOSTS_NETWORK: network,
} = process.env;
if (bind === undefined || agent === undefined || link === undefined || network === undefined) {
  throw new Error('run this on two hosts: scripts/two-hosts -- node packages/runtime/dist/failures/main.js');
}
const ranksPerHost = 2;
const ranks = 2 * ranksPerHost;
const lostAfterSeconds = 6;
const place = {
  hosts: ['a', 'b'].map((name) => ({ name, slots: ranksPerHost })),
  bind,
  agent,
  network,
  lostAfterSeconds,
};
/** What mpirun, and processes that end, may take beside the times stated. */
const startSeconds = 20;
const smokeOnly = process.argv.includes('--smoke');
/**
 * How often the times stated a case may take. What CI runs stands beside other tests, on a machine of any speed: there
 * the bound only tells a job that ends from one that hangs.
 */
const patience = smokeOnly ? 6 : 1;

/** What a case works on while its job runs. */
interface Running {
  /** By rank. */
  readonly pids: readonly number[];
  readonly stop: AbortController;
}

interface Case {
  readonly name: string;
  /** In the subset that CI runs. */
  readonly smoke: boolean;
  /** Seconds that ranks work when nothing ends them. */
  readonly works: number;
  readonly options?: Partial<MpiLaunchOptions>;
  /** Once all ranks work. Returns what undoes it. */
  readonly harm?: (running: Running) => (() => void) | Promise<() => void>;
  /** From the harm (or the start) to the job's end. */
  readonly withinSeconds: number;
  /** The failure's rank and reason; absent: the job must succeed. */
  readonly expected?: { readonly ranks?: readonly number[]; readonly message: RegExp };
}

const onB = [2, 3];
const nothing = (): void => undefined;
const pause = (seconds: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, seconds * 1000));
const changeLink = (...what: string[]): void => void execFileSync(link, what, { stdio: 'inherit' });
const signalRank =
  (rank: number, signal: NodeJS.Signals) =>
  ({ pids }: Running): (() => void) => {
    process.kill(pids[rank] ?? 0, signal);
    return nothing;
  };

const cases: readonly Case[] = [
  { name: 'nothing goes wrong', smoke: true, works: 1, withinSeconds: startSeconds },
  {
    name: 'a rank is killed (SIGKILL)',
    smoke: true,
    works: 60,
    harm: signalRank(3, 'SIGKILL'),
    withinSeconds: 10,
    expected: { ranks: [3], message: /host b was ended by signal 9|ended before it returned/ },
  },
  {
    name: 'a rank is told to end (SIGTERM)',
    smoke: false,
    works: 60,
    harm: signalRank(1, 'SIGTERM'),
    withinSeconds: 10,
    expected: { ranks: [1], message: /host a was ended by signal 15|ended before it returned/ },
  },
  {
    name: 'a rank is stopped for good (SIGSTOP)',
    smoke: false,
    works: 60,
    harm: signalRank(2, 'SIGSTOP'),
    withinSeconds: lostAfterSeconds + 10,
    expected: { ranks: [2], message: /not heard from for 6 s on host b/ },
  },
  {
    name: 'the link is cut for good',
    smoke: true,
    works: 60,
    harm: () => {
      changeLink('cut');
      return () => changeLink('restore');
    },
    withinSeconds: lostAfterSeconds + 14,
    expected: { ranks: onB, message: /not heard from for 6 s on host b/ },
  },
  {
    name: 'the link is cut for five seconds',
    smoke: false,
    works: 10,
    options: { lostAfterSeconds: 15 },
    harm: async () => {
      changeLink('cut');
      await pause(5);
      changeLink('restore');
      return nothing;
    },
    withinSeconds: 40,
  },
  {
    name: 'a host gets every other tenth of a second',
    smoke: false,
    works: 5,
    harm: async ({ pids }) => {
      for (let beat = 0; beat < 20; beat++) {
        for (const rank of onB) process.kill(pids[rank] ?? 0, beat % 2 === 0 ? 'SIGSTOP' : 'SIGCONT');
        await pause(0.1);
      }
      return nothing;
    },
    withinSeconds: 30,
  },
  {
    name: 'a host has another version of Monta',
    smoke: true,
    works: 60,
    withinSeconds: startSeconds,
    expected: { ranks: onB, message: /on host b it runs Monta 0\.0\.0-other, the launcher runs \d+\.\d+\.\d+/ },
  },
  {
    name: 'the person stops the job',
    smoke: false,
    works: 60,
    harm: ({ stop }) => {
      stop.abort(new Error('enough'));
      return nothing;
    },
    withinSeconds: 10,
    expected: { message: /enough/ },
  },
];

/** Makes commands on host b see another version in the package's manifest. */
async function withOtherVersion(run: () => Promise<void>): Promise<void> {
  const manifest = fileURLToPath(new URL('../../package.json', import.meta.url));
  const folder = mkdtempSync(join(tmpdir(), 'monta-version-'));
  const other = join(folder, 'package.json');
  writeFileSync(other, readFileSync(manifest, 'utf8').replace(/"version": "[^"]*"/, '"version": "0.0.0-other"'));
  process.env['TWO_HOSTS_SETUP_B'] = `mount --bind ${other} ${manifest}`;
  try {
    await run();
  } finally {
    delete process.env['TWO_HOSTS_SETUP_B'];
    rmSync(folder, { recursive: true });
  }
}

async function runCase(given: Case): Promise<void> {
  const pids: number[] = [];
  const stop = new AbortController();
  let since = performance.now();
  let undo: () => void = nothing;
  let harm = Promise.resolve();
  const workerData: FailureJob = { seconds: given.works };
  const job = launchMpi({
    ranks,
    ...place,
    memoryBytes: 1 << 20,
    workerModule: new URL('./sums.worker.js', import.meta.url),
    workerData,
    signal: stop.signal,
    onErrorLine: nothing,
    onMessage: (rank, message) => {
      pids[rank] = (message as { readonly pid: number }).pid;
      if (pids.filter(Boolean).length < ranks || given.harm === undefined) return;
      harm = pause(1).then(async () => {
        since = performance.now();
        undo = (await given.harm?.({ pids, stop })) ?? nothing;
      });
    },
    ...given.options,
  });
  const outcome = await job.then(
    (results) => ({ results, error: undefined }),
    (error: unknown) => ({ results: undefined, error }),
  );
  const seconds = (performance.now() - since) / 1000;
  await harm;
  try {
    check(given, outcome);
    const mostSeconds = given.withinSeconds * patience;
    if (seconds > mostSeconds) throw new Error(`took ${seconds.toFixed(1)} s, expected ${mostSeconds} s`);
    await checkGone(pids);
  } finally {
    undo();
    // A stopped process does not hear of its end.
    for (const pid of pids) if (pid !== undefined && alive(pid)) process.kill(pid, 'SIGKILL');
  }
  const said = outcome.error instanceof Error ? `: ${outcome.error.message}` : '';
  process.stdout.write(`ok   ${given.name} (${seconds.toFixed(1)} s)${said}\n`);
}

function check({ expected }: Case, { results, error }: { results: unknown[] | undefined; error: unknown }): void {
  if (expected === undefined) {
    if (error !== undefined) throw error;
    if (results === undefined || new Set(results).size !== 1) throw new Error('ranks made different numbers of steps');
    return;
  }
  if (error === undefined) throw new Error('the job succeeded, expected it to fail');
  const message = error instanceof Error ? error.message : 'something that is no error';
  const named = expected.ranks === undefined || (error instanceof RankFailure && expected.ranks.includes(error.rank));
  if (!named || !expected.message.test(message)) throw new Error(`the job failed otherwise than expected: ${message}`);
}

/**
 * No process of the job is left, at the latest when ranks that were cut off have missed their launcher for long enough.
 */
async function checkGone(pids: readonly number[]): Promise<void> {
  const until = performance.now() + (lostAfterSeconds + 6) * patience * 1000;
  while (performance.now() < until) {
    if (!pids.some((pid) => pid !== undefined && alive(pid))) return;
    await pause(0.2);
  }
  throw new Error(`processes ${pids.filter((pid) => alive(pid)).join(', ')} are left`);
}

/** Whether a process runs; zombies and stopped ones that were killed do not. */
function alive(pid: number): boolean {
  try {
    return !/^State:\s+[ZX]/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return false;
  }
}

const diskCase = 'the disk fills during a checkpoint';
/** Only cases with these words in their names. */
const words = process.argv.slice(2).filter((word) => !word.startsWith('--'));
const named = (name: string): boolean => words.every((word) => name.includes(word));
const chosen = cases.filter(({ smoke }) => smoke || !smokeOnly).filter(({ name }) => named(name));

/** Runs one case; a failure is said and remembered, the others still run. */
async function attempt(name: string, run: () => Promise<void>): Promise<void> {
  try {
    await run();
  } catch (error) {
    process.exitCode = 1;
    process.stdout.write(`FAIL ${name}: ${error instanceof Error ? error.message : String(error)}\n`);
  }
}

for (const given of chosen)
  await attempt(given.name, () =>
    given.name.includes('another version') ? withOtherVersion(() => runCase(given)) : runCase(given),
  );
if (named(diskCase))
  await attempt(diskCase, async () => {
    const begin = performance.now();
    const said = await fillDisk(place);
    process.stdout.write(`ok   ${diskCase} (${((performance.now() - begin) / 1000).toFixed(1)} s): ${said}\n`);
  });
