/** Whether tests that need Open MPI run here. */
import { spawnSync } from 'node:child_process';
import { mpiLibraryAvailable } from '#runtime/comm/mpi/ffi.js';

const installed = mpiLibraryAvailable() && spawnSync('mpirun', ['--version']).status === 0;
const inCi = (process.env['CI'] ?? '') !== '';

/** True where Open MPI is installed, and in CI, which installs it: there its absence is a failure. */
export const testsOverMpi = installed || inCi;

if (!testsOverMpi) {
  process.stderr.write(
    'Tests over MPI are left out: install Open MPI (Debian: apt-get install openmpi-bin libopenmpi3)\n',
  );
}

/**
 * Why tests on two hosts can't run here; undefined when they can. Making a network namespace is tried, since being root
 * is not enough.
 */
function twoHostsMissing(): string | undefined {
  if (!testsOverMpi) return 'Open MPI is missing';
  if (spawnSync('tc', ['-Version']).status !== 0) return 'iproute2 is missing (Debian: apt-get install iproute2)';
  const name = `monta-probe-${process.pid}`;
  if (spawnSync('ip', ['netns', 'add', name]).status !== 0)
    return 'network namespaces cannot be made here (needs root)';
  spawnSync('ip', ['netns', 'delete', name]);
  return undefined;
}

const missing = twoHostsMissing();

/** True where `scripts/two-hosts` works. */
export const testsOnTwoHosts = missing === undefined;

if (missing !== undefined) process.stderr.write(`Tests on two hosts are left out: ${missing}\n`);
