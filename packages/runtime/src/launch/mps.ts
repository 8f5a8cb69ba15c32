/**
 * NVIDIA's multi-process service for one job whose ranks share cards: without it they take turns on a card, and ranks
 * that wait for each other wait for their turns too. It is the job's own, with its files in the job's folder, and
 * changes no setting of a card.
 */
import { spawnSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';

const control = 'nvidia-cuda-mps-control';
const visibleVariable = 'CUDA_VISIBLE_DEVICES';

export interface MultiProcessService {
  /** Environment of the ranks that use it. */
  readonly environment: Readonly<Record<string, string>>;
  stop(): void;
}

/** Starts it; undefined where the machine has none or does not let it start. */
export function startMps(folder: string): MultiProcessService | undefined {
  const [pipe, log] = [join(folder, 'mps'), join(folder, 'mps-log')];
  mkdirSync(pipe, { mode: 0o700 });
  mkdirSync(log, { mode: 0o700 });
  const environment = { CUDA_MPS_PIPE_DIRECTORY: pipe, CUDA_MPS_LOG_DIRECTORY: log };
  const env = { ...process.env, ...environment };
  const started = spawnSync(control, ['-d'], { env, stdio: 'ignore' });
  if (started.status !== 0) return undefined;
  return {
    environment: { ...environment, ...renumbered(process.env[visibleVariable]) },
    stop: () =>
      void spawnSync(control, [], { env, input: 'quit\n', stdio: ['pipe', 'ignore', 'ignore'], timeout: 10_000 }),
  };
}

/**
 * The service numbers its cards anew: of cards 2 and 3 its clients see 0 and 1, and would look for 2 and 3 among
 * those. Cards named by UUID keep their names.
 */
function renumbered(visible = ''): Readonly<Record<string, string>> {
  const cards = visible.split(',');
  const end = cards.findIndex((card) => !/^\s*\d+\s*$/u.test(card));
  const numbered = cards.slice(0, end < 0 ? cards.length : end);
  return numbered.length === 0 ? {} : { [visibleVariable]: numbered.map((_, place) => String(place)).join(',') };
}
