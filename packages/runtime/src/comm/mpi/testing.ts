/** Whether tests that need Open MPI run here. */
import { spawnSync } from 'node:child_process';
import { mpiLibraryAvailable } from './ffi.js';

const installed = mpiLibraryAvailable() && spawnSync('mpirun', ['--version']).status === 0;
const inCi = (process.env['CI'] ?? '') !== '';

/** True where Open MPI is installed, and in CI, which installs it: there its absence is a failure. */
export const testsOverMpi = installed || inCi;

if (!testsOverMpi) {
  process.stderr.write(
    'Tests over MPI are left out: install Open MPI (Debian: apt-get install openmpi-bin libopenmpi3)\n',
  );
}
