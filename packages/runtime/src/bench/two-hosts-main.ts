/**
 * `npm run bench:two-hosts [-- --json] [--quick] [--rate 400mbit,2gbit] [--tp 8,4,2] [--mib 1,8,32]`: measures on two hosts that
 * `scripts/two-hosts` makes on this machine. Needs root and Open MPI.
 */
import { spawn } from 'node:child_process';
import { availableParallelism, cpus, loadavg } from 'node:os';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { loadMpi } from '../comm/mpi/index.js';
import { ceilingLine, figureLines, wrongFigures } from './two-hosts-report.js';
import { measureTwoHosts, type Ceiling, type TwoHostsFigure } from './two-hosts.js';

const { values: flags } = parseArgs({
  options: {
    json: { type: 'boolean', default: false },
    /** One volume, few repetitions, TP=2: a check that it works. */
    quick: { type: 'boolean', default: false },
    rate: { type: 'string', default: '400mbit,2gbit' },
    tp: { type: 'string', default: '8,4,2' },
    mib: { type: 'string', default: '1,8,32' },
    chunks: { type: 'string', default: '2,4,8' },
    repetitions: { type: 'string', default: '7' },
  },
});
const numbers = (text: string): number[] => text.split(',').map(Number);
const address = process.env['TWO_HOSTS_ADDRESS'];
const agent = process.env['TWO_HOSTS_AGENT'];
const network = process.env['TWO_HOSTS_NETWORK'];
const say = (line: string): void => {
  if (!flags.json) process.stdout.write(`${line}\n`);
};

if (address === undefined || agent === undefined || network === undefined) {
  loadMpi();
  say(
    `${cpus()[0]?.model ?? 'unknown processor'}, ${availableParallelism()} cores, load ${loadavg()
      .map((load) => load.toFixed(1))
      .join(' ')}; ${loadMpi().version}`,
  );
  for (const rate of (flags.quick ? '400mbit' : flags.rate).split(',')) process.exitCode ||= await onHosts(rate);
} else {
  const figures: TwoHostsFigure[] = [];
  const ceilings: Ceiling[] = [];
  await measureTwoHosts(
    {
      rate: process.env['TWO_HOSTS_RATE'] ?? '',
      address,
      agent,
      network,
      tp: flags.quick ? [2] : numbers(flags.tp),
      volumes: (flags.quick ? [2] : numbers(flags.mib)).map((mebibytes) => mebibytes * 2 ** 20),
      chunks: flags.quick ? [2] : numbers(flags.chunks),
      repetitions: flags.quick ? 3 : Number(flags.repetitions),
      executor: true,
    },
    (ceiling, measured) => {
      say(ceilingLine(ceiling));
      for (const line of figureLines(measured)) say(line);
      if (!ceilings.includes(ceiling)) ceilings.push(ceiling);
      figures.push(...measured);
    },
  );
  if (flags.json) process.stdout.write(`${JSON.stringify({ load: loadavg(), ceilings, figures })}\n`);
  const wrong = wrongFigures(figures);
  for (const line of wrong) process.stderr.write(`${line}\n`);
  if (wrong.length > 0) process.exitCode = 1;
}

/** Runs this program again on host a of two hosts with a link of this rate. */
function onHosts(rate: string): Promise<number> {
  const script = fileURLToPath(new URL('../../../../scripts/two-hosts', import.meta.url));
  const own = [process.execPath, fileURLToPath(import.meta.url), ...process.argv.slice(2)];
  return new Promise((resolve, reject) => {
    const child = spawn(script, ['--rate', rate, '--limit', '1500', '--', ...own], { stdio: 'inherit' });
    child.once('error', reject);
    child.once('close', (code) => resolve(code ?? 1));
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => child.kill(signal));
  });
}
