/**
 * Ctrl-C, as people press it: every command that may take long ends soon, without a stack trace; and the
 * main job, stopped in the middle, says how to go on, and then gives the losses of a run that nobody stopped.
 * `npm run test:interrupted`.
 */
import { spawn } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const monta = join(root, 'packages/cli/bin/monta.js');
const folder = mkdtempSync(join(tmpdir(), 'monta-interrupted-'));
const env = { ...process.env, PATH: `${join(root, 'node_modules/.bin')}:${process.env.PATH}` };
/** What a person waits at most, seconds: one on a quiet machine, which this one need not be. */
const patience = 10;
let wrong = 0;

function say(right, text, more = '') {
  if (!right) wrong += 1;
  process.stdout.write(`${right ? 'ok   ' : 'WRONG'}  ${text}\n${right ? '' : `${more}\n`}`);
}

/** Runs a command; once `stopWhen` says so it gets Ctrl-C as a terminal sends it, to all of its processes. */
function run(command, parameters, stopWhen = () => false) {
  const child = spawn(command, parameters, { cwd: root, env, detached: true });
  return new Promise((resolve) => {
    let printed = '';
    let stopped;
    const look = () => {
      if (stopped !== undefined || !stopWhen()) return;
      stopped = performance.now();
      process.kill(-(child.pid ?? 0), 'SIGINT');
    };
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (data) => (printed += data));
    const timer = setInterval(look, 50);
    child.on('close', (code) => {
      clearInterval(timer);
      const seconds = stopped === undefined ? undefined : (performance.now() - stopped) / 1e3;
      resolve({ code, printed, seconds });
    });
  });
}

/** Commands that go on for long, each with the moment at which it is stopped: seconds after its start. */
const long = [
  ['plan', '--model', 'deepseek-v3', '--cluster', 'h800-1024x8'],
  ['plan', '--model', '2x70b', '--cluster', 'a800-2x8', '--layout', 'tp=8,dp=2,ep=2'],
  [
    'simulate',
    '--of',
    'step',
    '--exact',
    '--model',
    'mixtral-8x7b',
    '--cluster',
    'h100-8x8',
    '--layout',
    'tp=8,dp=8,ep=8',
  ],
  [
    'memory',
    '--model',
    'deepseek-v3',
    '--cluster',
    'h100-32x8',
    '--layout',
    'dp=64,ep=64,pp=4',
    '--micro-batches',
    '32',
  ],
  ['verify', 'fixtures/hf/tiny-olmoe', '--layout', 'tp=2,ep=2,dp=2,sp'],
  ['calibrate', '--probe', '-o', join(folder, 'here.json')],
  ['bench', 'dispatch', '--model', 'mixtral-8x7b', '--cluster', 'laptop-2x4', '--layout', 'tp=4,dp=2,ep=2'],
  ['train', '--output', join(folder, 'train')],
  ['studio'],
];
const startSeconds = 1.5;

/** Losses by step of all runs in a folder; steps behind the last checkpoint were done twice. */
function lossesOf(runs) {
  const lines = readdirSync(runs)
    .sort()
    .flatMap((name) =>
      readFileSync(join(runs, name, 'metrics.jsonl'), 'utf8')
        .trim()
        .split('\n'),
    );
  const steps = lines.map((line) => JSON.parse(line)).filter(({ kind }) => kind === 'step');
  return Object.fromEntries(steps.map(({ step, loss }) => [step, loss]));
}

/** `npm start`, smaller: without trials and comparisons, which time decides. */
const smaller = ['--steps', '24', '--batch', '8', '--sequence', '64', '--trial-steps', '0', '--no-compare'];
const start = (output) => ['start', '--silent', '--', ...smaller, '--output', output];

async function resumed() {
  const [whole, stopped] = [join(folder, 'whole'), join(folder, 'stopped')];
  const { code, printed } = await run('npm', start(whole));
  say(code === 0, 'npm start, smaller', printed);
  const first = await run('npm', start(stopped), () => {
    try {
      return Object.keys(lossesOf(stopped)).length >= 13;
    } catch {
      return false;
    }
  });
  const [, command = ''] = /go on from step \d+ with\n\s+(.*)/u.exec(first.printed) ?? [];
  say(command !== '', `stopped after some steps; it says: ${command.replaceAll(folder, '…')}`, first.printed);
  say((first.seconds ?? Infinity) <= patience, `ended ${first.seconds?.toFixed(2)} s after Ctrl-C`);
  if (command === '') return;
  const second = await run('bash', ['-c', command]);
  say(second.code === 0, 'went on to the end', second.printed);
  const losses = JSON.stringify(lossesOf(stopped));
  say(losses === JSON.stringify(lossesOf(whole)), 'the losses of the run that nobody stopped, to the last bit', losses);
}

/** How a command takes Ctrl-C; undefined where it was done before. */
async function stop(parameters) {
  const begun = performance.now();
  const { printed, seconds, code } = await run(
    process.execPath,
    [monta, ...parameters],
    () => performance.now() - begun > startSeconds * 1e3,
  );
  const stack = /^ {4}at .*(?:file:|node:|\/)/mu.test(printed);
  return { right: seconds === undefined ? code === 0 : seconds <= patience && !stack, printed, seconds };
}

try {
  for (const parameters of long) {
    let told = await stop(parameters);
    // A machine that does much besides may be late once.
    if (!told.right) told = await stop(parameters);
    const text = `monta ${parameters.join(' ')}`.replaceAll(folder, '…');
    const { right, seconds, printed } = told;
    const how = seconds === undefined ? 'was done before' : `ended ${seconds.toFixed(2)} s after Ctrl-C`;
    say(right, `${text}: ${how}`, printed.slice(-1500));
  }
  await resumed();
} finally {
  rmSync(folder, { recursive: true, force: true });
}
process.exitCode = wrong > 0 ? 1 : 0;
