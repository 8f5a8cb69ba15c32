/** The table of faults: kills of both backends, and the other harms, each with what came of it. */
import { join } from 'node:path';
import { writeFileSync } from 'node:fs';
import { Random } from '@monta/core';
import { canMount, harms, type Harm } from './harms.js';
import { killOnce, lastBits, type Outcome } from './kills.js';
import { runProcess, type Backend } from './run-process.js';
import { smallJob, smallText } from './small-job.js';

/** Runs at a time: they mostly wait. */
const together = 3;

interface Task {
  readonly fault: string;
  readonly backend: Backend;
  readonly run: () => Promise<Outcome>;
}

interface Undisturbed {
  readonly bits: string;
  readonly seconds: number;
}

/** Bits and seconds of a run that nothing disturbs. */
async function undisturbed(backend: Backend, text: string, root: string): Promise<Undisturbed> {
  const folder = join(root, `undisturbed-${backend}`);
  const { code, errors, seconds } = await runProcess(backend, smallJob(text, folder));
  if (code !== 0) throw new Error(`a run that nothing disturbs failed: ${errors}`);
  return { bits: lastBits(folder), seconds };
}

const failed = (error: unknown): Outcome => ({
  hung: false,
  torn: false,
  left: false,
  equal: false,
  trouble: error instanceof Error ? error.message : String(error),
  seconds: 0,
});

const count = (outcomes: readonly Outcome[], of: (outcome: Outcome) => boolean): number => outcomes.filter(of).length;

const rowOf = ({ fault, backend }: Task, outcomes: readonly Outcome[]) => ({
  fault,
  backend,
  runs: outcomes.length,
  hung: count(outcomes, ({ hung }) => hung),
  torn: count(outcomes, ({ torn }) => torn),
  left: count(outcomes, ({ left }) => left),
  unequal: count(outcomes, ({ equal }) => !equal),
  'slowest, s': Number(outcomes.reduce((most, { seconds }) => Math.max(most, seconds), 0).toFixed(1)),
});

const troublesOf = ({ fault, backend }: Task, outcomes: readonly Outcome[]): string[] =>
  outcomes.flatMap(({ hung, torn, left, equal, trouble }) =>
    hung || torn || left || !equal || trouble !== undefined
      ? [`${fault}, ${backend}: ${JSON.stringify({ hung, torn, left, equal, trouble })}`]
      : [],
  );

/** Makes all faults happen, a few at a time, and prints the table. Returns what was wrong. */
export async function faultsReport({
  root,
  kills,
  seed,
}: {
  /** An empty folder. */
  readonly root: string;
  readonly kills: number;
  readonly seed: number;
}): Promise<string[]> {
  const begin = performance.now();
  const text = join(root, 'text.txt');
  writeFileSync(text, smallText);
  const [local, mpi] = await Promise.all([undisturbed('local', text, root), undisturbed('mpi', text, root)]);
  const alone: Readonly<Record<Backend, Undisturbed>> = { local, mpi };
  const killed = Array.from({ length: kills }, (_, number): Task => {
    const backend = number % 2 === 0 ? 'local' : 'mpi';
    const job = smallJob(text, join(root, `kill-${number}`), 2);
    return {
      fault: 'killed at a random moment',
      backend,
      run: () => killOnce(backend, job, { random: new Random(seed, number), ...alone[backend] }),
    };
  });
  const harmed = possibleHarms(root).map(({ name, backend, run }): Task => {
    const job = smallJob(text, join(root, name.replaceAll(' ', '-')), 2);
    return { fault: name, backend, run: () => run(job, alone[backend].bits) };
  });
  const tasks = [...killed, ...harmed];
  const byFault = new Map<string, { readonly task: Task; readonly outcomes: Outcome[] }>();
  for (const task of tasks) byFault.set(`${task.fault} ${task.backend}`, { task, outcomes: [] });
  const waiting = [...tasks];
  const worker = async (): Promise<void> => {
    for (let task = waiting.shift(); task !== undefined; task = waiting.shift()) {
      byFault.get(`${task.fault} ${task.backend}`)?.outcomes.push(await task.run().catch(failed));
      console.error(`${((performance.now() - begin) / 1000).toFixed(0)} s: ${task.fault}, ${task.backend}`);
    }
  };
  await Promise.all(Array.from({ length: together }, worker));
  console.table([...byFault.values()].map(({ task, outcomes }) => rowOf(task, outcomes)));
  return [...byFault.values()].flatMap(({ task, outcomes }) => troublesOf(task, outcomes));
}

/** The harms that can be done here; says which are left out. */
function possibleHarms(root: string): readonly Harm[] {
  if (canMount(root)) return harms;
  const left = harms.filter(({ mounts }) => mounts).map(({ name }) => name);
  console.log(`left out, since file systems cannot be mounted here: ${left.join(', ')}`);
  return harms.filter(({ mounts }) => !mounts);
}
