import { describe } from 'vitest';
import { describeConformance, type ConformanceLauncher } from '../conformance.js';
import type { CaseReport } from '../conformance.cases.js';
import { launchMpi } from '../../launch/mpi-launch.js';
import { testsOverMpi } from './testing.js';

const launcher: ConformanceLauncher = (ranks, onReport) =>
  launchMpi({
    ranks,
    memoryBytes: 16 << 20,
    workerModule: new URL('./conformance.worker.ts', import.meta.url),
    trace: ranks % 2 === 0,
    onMessage: (rank, message) => onReport(rank, message as CaseReport),
  });

describe.runIf(testsOverMpi)('Open MPI', () => {
  describeConformance('mpi backend', [1, 2, 3, 4, 8], launcher);
});
