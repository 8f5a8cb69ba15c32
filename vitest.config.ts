import { availableParallelism } from 'node:os';
import { setFlagsFromString } from 'node:v8';
import { defineConfig, type Plugin } from 'vitest/config';
import { BaseSequencer, type TestSpecification } from 'vitest/node';
import { optimizeLater } from './packages/cli/src/engine.js';

// Every rank that a test starts is a thread that compiles its code for itself, and most end before optimized code has
// earned what it cost: later, it takes a third of the processor time off tests of ranks and off searches.
optimizeLater('test');

// Young objects get room: collecting them took a sixth of the processor time of tests that plan.
setFlagsFromString('--max-semi-space-size=64');

/**
 * Tests run what is published: where one imports a source of its package, it gets the file that `tsc` made of it. Node
 * loads that as it is, and so do the ranks and processes that tests start. `vitest.build.ts` builds before the first.
 */
const built: Plugin = {
  name: 'built',
  enforce: 'pre',
  async resolveId(source, importer, options) {
    const found = await this.resolve(source, importer, { ...options, skipSelf: true });
    const [, folder, file] = /^(.*\/packages\/(?:core|views|runtime|cli))\/src\/(.*)\.ts$/u.exec(found?.id ?? '') ?? [];
    return file === undefined || file.endsWith('.test') ? found : `${folder}/dist/${file}.js`;
  },
};

/** Files that take longest. One that began at the end would run alone while other processors have nothing to do. */
const longest = [
  'verify/verify.test.ts',
  'two-hosts/two-hosts.test.ts',
  'commands/train-mpi.test.ts',
  'launch/mpi-launch.test.ts',
  'failures/failures.test.ts',
  'train/resume.test.ts',
  'execute/multi-rank.test.ts',
  'plan/brute-force.test.ts',
  'commands/bench-dispatch.test.ts',
  'execute/strategies.test.ts',
  'comm/mpi/mpi.test.ts',
  'probe/communication-cost.test.ts',
  'train/try-strategies.test.ts',
  'commands/plan.test.ts',
  'commands/calibration-flag.test.ts',
  'probe/network.test.ts',
  'fuzz/fuzz.test.ts',
];

class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const place = ({ moduleId }: TestSpecification): number => {
      const found = longest.findIndex((name) => moduleId.endsWith(name));
      return found < 0 ? longest.length : found;
    };
    return (await super.sort(files)).toSorted((a, b) => place(a) - place(b));
  }
}

export default defineConfig({
  plugins: [built],
  test: {
    include: ['packages/*/src/**/*.test.ts', 'packages/*/testing/**/*.test.ts', 'lint/*.test.ts'],
    globalSetup: ['vitest.build.ts'],
    setupFiles: ['vitest.setup.ts'],
    server: { deps: { external: [/\/packages\/\w+\/dist\//u] } },
    pool: 'threads',
    isolate: false,
    // One more would wait for a processor: these are busy for more than nine tenths of the time.
    maxWorkers: availableParallelism(),
    sequence: { sequencer: LongestFirst },
    // The longest take some 40 s on two quiet cores; a slow or busy machine needs a multiple of that. What reaches this
    // hangs: no test has a bound of its own, which would only tell how fast the machine is.
    testTimeout: 900_000,
    hookTimeout: 900_000,
  },
});
