import { describe } from 'vitest';
import { builtTesting } from '../../../testing/built.js';
import { describeConformance, type ConformanceLauncher } from '../../../testing/comm/conformance.js';
import type { CaseReport } from '../../../testing/comm/conformance-cases.js';
import { launchMpi } from '../../launch/mpi-launch.js';
import { testsOverMpi } from '../../../testing/hosts.js';

const launcher: ConformanceLauncher = (ranks, onReport) =>
  launchMpi({
    ranks,
    memoryBytes: 16 << 20,
    workerModule: builtTesting('comm/conformance.worker'),
    trace: ranks % 2 === 0,
    onMessage: (rank, message) => onReport(rank, message as CaseReport),
  });

describe.runIf(testsOverMpi)('Open MPI', () => {
  describeConformance('mpi backend', [1, 2, 3, 4, 8], launcher);
});
