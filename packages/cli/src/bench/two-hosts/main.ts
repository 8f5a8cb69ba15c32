/**
 * `npm run bench:two-hosts [-- flags]`: measures on two hosts that `scripts/two-hosts` makes on this machine. Needs
 * root and Open MPI.
 */
import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { availableParallelism, loadavg, tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { loadMpi, mpiLauncher, processorName } from '@monta/runtime';
import { finalResults, prepareCase, screenCases } from './cases.js';
import type { PreparedCase } from './prepared-case.js';
import { exchangeResults } from './exchanges.js';
import { costOf, probeTwoHosts } from './hosts.js';
import {
  choiceLine,
  choiceTable,
  costLine,
  exchangeTable,
  linksLine,
  originLine,
  partsTable,
  predictionLine,
  summarizeChoices,
} from './report.js';
import { settleCases } from './trial.js';
import type {
  CaseResult,
  CostResult,
  ExchangeResult,
  LinksResult,
  PartsResult,
  RateResult,
  RoutingKind,
  TwoHostsResult,
} from './types.js';
import { appendAll } from '@monta/core/units';

const { values: flags } = parseArgs({
  options: {
    /** Prints the result as JSON, progress on standard error. */
    json: { type: 'boolean', default: false },
    /** Also writes the JSON here. */
    out: { type: 'string' },
    /** One small case of each kind, TP=2: a check that it works. */
    quick: { type: 'boolean', default: false },
    rate: { type: 'string', default: '400mbit,2gbit,none' },
    tp: { type: 'string', default: '8,4,2' },
    /** Volumes V of exchanges; none: no exchanges. */
    mib: { type: 'string', default: '8,16,32' },
    chunks: { type: 'string', default: '1,2,4' },
    /** Volumes of dispatch and combine, and with skewed routing; none: no cases. */
    cases: { type: 'string', default: '0.25,1,4' },
    skewed: { type: 'string', default: '0.25,1' },
    repetitions: { type: 'string', default: '9' },
    /** Of all strategies. */
    rounds: { type: 'string', default: '3' },
    /** For which ways that are predicted close to each other are tried before the plan is made, in each case, about. */
    'trial-seconds': { type: 'string', default: '6' },
    /** For which the fastest of a case are measured again, about. */
    'final-seconds': { type: 'string', default: '20' },
    /** Where the run on host a leaves its result; set by the run outside. */
    part: { type: 'string' },
  },
});
/**
 * All ranks' bytes queue up before the slow link. Small socket buffers keep the queue short, so that connections share
 * the link evenly: with large ones, an exchange waits for the connection that was served last. The same for all
 * strategies.
 */
const socketOptions = ['sndbuf', 'rcvbuf'].flatMap((name) => ['--mca', `btl_tcp_${name}`, String(128 << 10)]);
const list = (text: string): string[] => (text === 'none' ? [] : text.split(','));
const bytes = (text: string): number[] => list(text).map((mebibytes) => Math.round(Number(mebibytes) * 2 ** 20));
const say = (line: string): void => {
  (flags.json ? process.stderr : process.stdout).write(`${line}\n`);
};

if (flags.part === undefined) await measureAll();
else writeFileSync(flags.part, JSON.stringify(await measureRate(flags.quick)));

async function measureAll(): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'monta-two-hosts-'));
  const origin = {
    date: new Date().toISOString().slice(0, 10),
    processor: processorName(),
    cores: availableParallelism(),
    loadBefore: loadavg()[0] ?? 0,
    mpi: loadMpi().version,
    repetitions: Number(flags.repetitions),
  };
  try {
    const rates: RateResult[] = [];
    for (const [index, rate] of (flags.quick ? ['400mbit'] : flags.rate.split(',')).entries()) {
      const part = join(folder, `${index}.json`);
      await onHosts(rate, part);
      rates.push(JSON.parse(readFileSync(part, 'utf8')) as RateResult);
    }
    const result: TwoHostsResult = { ...origin, rates };
    if (flags.out !== undefined) writeFileSync(flags.out, `${JSON.stringify(result)}\n`);
    if (flags.json) process.stdout.write(`${JSON.stringify(result)}\n`);
    say(originLine(result));
    const cases = rates.flatMap((one) => one.cases);
    if (cases.length > 0) say(`${choiceLine(summarizeChoices(cases))}\n${predictionLine(rates)}`);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Runs this program again on host a of two hosts with a link of this rate. */
function onHosts(rate: string, part: string): Promise<void> {
  const script = fileURLToPath(new URL('../../../../../scripts/two-hosts', import.meta.url));
  const own = [process.execPath, fileURLToPath(import.meta.url), ...process.argv.slice(2), '--part', part];
  return new Promise((resolve, reject) => {
    const child = spawn(script, ['--rate', rate, '--limit', '5000', '--', ...own], { stdio: 'inherit' });
    child.once('error', reject);
    child.once('close', (code) =>
      code === 0 ? resolve() : reject(new Error(`the run at ${rate} ended with code ${code}`)),
    );
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => child.kill(signal));
  });
}

async function measureRate(quick: boolean): Promise<RateResult> {
  const env = (name: string): string => {
    const value = process.env[name];
    if (value === undefined) throw new Error(`${name} is not set: scripts/two-hosts starts this`);
    return value;
  };
  const rate = env('TWO_HOSTS_RATE');
  const address = env('TWO_HOSTS_ADDRESS');
  const chunkCounts = quick ? [1, 2] : list(flags.chunks).map(Number);
  const [rounds, trialSeconds, finalSeconds] = quick
    ? [2, 0, 0]
    : [Number(flags.rounds), Number(flags['trial-seconds']), Number(flags['final-seconds'])];
  const kinds: readonly (readonly [RoutingKind, readonly number[]])[] = quick
    ? [['uniform', bytes('0.25')]]
    : [
        ['uniform', bytes(flags.cases)],
        ['zipf:1', bytes(flags.skewed)],
      ];
  const links: LinksResult[] = [];
  const costs: CostResult[] = [];
  const exchanges: ExchangeResult[] = [];
  const parts: PartsResult[] = [];
  const cases: CaseResult[] = [];
  for (const tp of quick ? [2] : list(flags.tp).map(Number)) {
    const launcher = mpiLauncher({
      hosts: ['a', 'b'].map((name) => ({ name, slots: tp })),
      bind: address,
      agent: env('TWO_HOSTS_AGENT'),
      network: env('TWO_HOSTS_NETWORK'),
      mpirunOptions: socketOptions,
    });
    const hosts = await probeTwoHosts({ tp, launcher, address, quick });
    const cost = costOf(hosts);
    costs.push(cost);
    const prepared: PreparedCase[] = [];
    for (const [routing, volumes] of kinds)
      for (const volume of volumes) prepared.push(await prepareCase(hosts, volume, routing, chunkCounts));
    const settled = await settleCases(launcher, prepared, trialSeconds);
    const own = await finalResults(launcher, await screenCases(launcher, settled, rounds), finalSeconds);
    appendAll(cases, own);
    const volumes = quick ? bytes('2') : bytes(flags.mib);
    const repetitions = quick ? 3 : Number(flags.repetitions);
    if (volumes.length > 0) {
      const measured = await exchangeResults(hosts, volumes, chunkCounts, repetitions);
      links.push(measured.links);
      appendAll(exchanges, measured.results);
      appendAll(parts, measured.parts);
      say(
        `\nlink ${rate}, ` +
          `${linksLine(measured.links)}\n\n${exchangeTable(measured.results)}\n\n${partsTable(measured.parts)}`,
      );
    }
    say(`\nlink ${rate}, ${costLine(cost)}`);
    if (own.length > 0)
      say(`\nlink ${rate}, TP=${tp}, dispatch and combine, forward and backward\n\n${choiceTable(own)}`);
  }
  return { rate, links, costs, exchanges, parts, cases };
}
