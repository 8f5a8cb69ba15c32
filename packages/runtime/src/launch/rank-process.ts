/** A process that is a rank of a job, started here or by somebody else on another host. */
import { spawn } from 'node:child_process';

/** How a process ended; `problem` where it did not start, or nobody can say. */
export interface ProcessEnd {
  readonly code: number | null;
  readonly signal: string | null;
  readonly problem?: string;
}

export interface RankProcess {
  readonly ended: Promise<ProcessEnd>;
  /** Ends it, if it runs. */
  readonly kill: () => void;
}

/** Starts a module of this package with an environment beside this process's. */
export function spawnRank(module: URL, environment: Readonly<Record<string, string>>): RankProcess {
  const child = spawn(process.execPath, [module.pathname], {
    env: { ...process.env, ...environment },
    stdio: ['ignore', 'inherit', 'inherit'],
    // Ctrl-C goes to the launcher alone, which ends the job in order.
    detached: true,
  });
  const ended = new Promise<ProcessEnd>((resolve) => {
    child.once('error', (error) =>
      resolve({ code: null, signal: null, problem: `its process did not start: ${error.message}` }),
    );
    child.once('exit', (code, signal) => resolve({ code, signal }));
  });
  return { ended, kill: () => void (child.exitCode === null && child.kill('SIGKILL')) };
}

/** Why a process that ended so has failed; undefined where it has not. */
export function failureOf({ code, signal, problem }: ProcessEnd): string | undefined {
  if (problem !== undefined) return problem;
  if (signal !== null) return `its process was ended by ${signal}`;
  return code === 0 ? undefined : `its process exited with code ${code}`;
}
