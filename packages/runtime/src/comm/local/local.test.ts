import { describeConformance } from '../conformance.js';
import type { CaseReport } from '../conformance.cases.js';
import { launchLocal } from '../../launch/launch-local.js';

const workerModule = new URL('./conformance.worker.ts', import.meta.url);

describeConformance('local', [1, 2, 3, 4, 5, 6, 7, 8], (ranks, onReport) =>
  launchLocal({
    ranks,
    memoryBytes: 16 << 20,
    workerModule,
    onMessage: (rank, message) => onReport(rank, message as CaseReport),
  }),
);
