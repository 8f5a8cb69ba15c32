import { describe, expect, it } from 'vitest';
import { readTrainConfig } from '../config/train-config.js';
import { Console } from '../output/console.js';
import { settingOf } from './setting.js';
import { showJob } from './run-text.js';

/** What is printed of a job that is about to start. */
function job(layout: string): string {
  const written: string[] = [];
  const stream = { isTTY: false, write: (text: string) => written.push(text) };
  const config = readTrainConfig(undefined, { backend: 'mpi', cluster: 'laptop-2x4', layout, batch: 8 });
  showJob(new Console(stream, stream, {}), settingOf(config), { path: 'runs/one' });
  return written.join('');
}

describe('a job over MPI', () => {
  it('says which devices it runs on where some are idle, and a layout that is read back so', () => {
    const part = job('tp=4,dp=1,etp=1');
    expect(part).toMatch(/^Model .*, tp=4,dp=1,etp=1, /mu);
    expect(part).toMatch(/^Cluster +laptop-2x4: over Open MPI, 1 of 2 nodes/mu);
    expect(job('tp=4,dp=2')).toMatch(/^Cluster +laptop-2x4: over Open MPI$/mu);
  });
});
