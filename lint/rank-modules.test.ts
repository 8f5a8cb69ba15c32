/**
 * What ranks load: each is a thread or a process that begins with it, many at a time. Parts of core by their names are
 * a third of what the whole of it is.
 */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { importsOf, packages, reachedFrom } from './loaded-modules.js';

const runtime = join(packages, 'runtime');

it('ranks load no more of core than the parts that they name', () => {
  const starts = ['src', 'testing'].flatMap((folder) =>
    readdirSync(join(runtime, folder), { recursive: true, encoding: 'utf8' })
      .filter((file) => /\.worker\.ts$|launch\/(?:mpi|nccl)-main\.ts$/u.test(file))
      .map((file) => join(runtime, folder, file)),
  );
  const reached = reachedFrom(starts, (file) => importsOf(file).filter((imported) => !imported.startsWith('@')));
  expect(starts.length).toBeGreaterThan(10);
  expect(reached.size).toBeGreaterThan(200);
  expect([...reached].filter((file) => importsOf(file).includes('@monta/core'))).toEqual([]);
});

it.each(['launch/mpi-main', 'launch/rank.worker', 'execute/dispatch.worker', 'probe/network.worker'])(
  '%s loads no parser of files: ranks get their jobs as data',
  (start) => {
    const reached = reachedFrom([join(runtime, 'src', `${start}.ts`)], importsOf);
    const parsers = [...reached].filter((file) => importsOf(file).some((one) => /^(?:yaml|saxes|zod)$/u.test(one)));
    expect(reached.size).toBeGreaterThan(30);
    expect(parsers).toEqual([]);
  },
);
