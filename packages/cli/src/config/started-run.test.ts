import { InputError } from '@monta/core';
import { expect, it } from 'vitest';
import { refuseCopies } from './started-run.js';

it('refuses processes that would each run all ranks, and says how one run is had', () => {
  const step = {
    SLURM_JOB_ID: '7',
    SLURM_LOCALID: '0',
    SLURM_PROCID: '0',
    SLURM_STEP_ID: '0',
    SLURM_STEP_NUM_TASKS: '4',
    SLURM_STEP_TASKS_PER_NODE: '4',
  };
  const complaint = (environment: Readonly<Record<string, string>>): string => {
    try {
      refuseCopies(environment);
      return '';
    } catch (error) {
      return error instanceof InputError ? error.format() : '';
    }
  };
  expect(complaint(step)).toMatch(/Slurm started 4 processes, and each would run all ranks.*--mpi=pmix.*--ntasks 1/su);
  expect(complaint({ ...step, SLURM_STEP_NUM_TASKS: '1', SLURM_STEP_TASKS_PER_NODE: '1' })).toBe('');
  expect(complaint({ SLURM_JOB_ID: '7', SLURM_PROCID: '0', SLURM_NTASKS: '4' })).toBe('');
  expect(complaint({})).toBe('');
});
