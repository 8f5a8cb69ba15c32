/** Breaks every rule of the layering once, in a workspace of its own, and looks whether the linter says so. */
import { spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

const root = fileURLToPath(new URL('..', import.meta.url));

const broken: readonly (readonly [rule: string, file: string, imported: string])[] = [
  ['core: a later folder', 'core/src/layout/a.ts', '../schedule/step.js'],
  ['core: a later folder, from below', 'core/src/cost/calibration/b.ts', '../../simulate/index.js'],
  ['core: types of a later folder', 'core/src/units/c.ts', 'type ../plan/choose.js'],
  ['core without Node', 'core/src/trace/d.ts', 'node:fs'],
  ['core without Node, unprefixed', 'core/src/trace/e.ts', 'fs/promises'],
  ['core without the runtime', 'core/src/plan/f.ts', '@monta/runtime'],
  ['views without Node', 'views/src/g.ts', 'node:path'],
  ['views without the runtime', 'views/src/plots/h.ts', '@monta/runtime/files'],
  ['native libraries', 'runtime/src/train/i.ts', 'koffi'],
  ['mpi on local', 'runtime/src/comm/mpi/j.ts', '../local/ring.js'],
  ['nccl on local', 'runtime/src/comm/nccl/k.ts', '../../comm/local/ring.js'],
  ['the emulated network on costs', 'runtime/src/comm/local/l.ts', '@monta/core/cost'],
  ['the emulated network on everything', 'runtime/src/comm/local/m.ts', '@monta/core'],
  ['the executor on a device', 'runtime/src/execute/n.ts', '../device/cpu/index.js'],
  ['the executor on a backend', 'runtime/src/execute/kernels/o.ts', '../../comm/mpi/index.js'],
  ['tools of tests', 'cli/src/p.ts', 'vitest'],
  ['what tests share', 'runtime/src/train/q.ts', '../../testing/numbers.js'],
  ['testing on sources by path', 'runtime/testing/r.ts', '../src/train/train.js'],
];
const allowed: readonly (readonly [file: string, imported: string])[] = [
  ['core/src/schedule/a.ts', '../layout/mesh.js'],
  ['core/src/cost/calibration/b.ts', '../../units/errors.js'],
  ['runtime/src/comm/mpi/c.ts', 'koffi'],
  ['runtime/src/comm/mpi/d.ts', '../operation.js'],
  ['runtime/src/comm/local/e.ts', '@monta/core/cluster'],
  ['runtime/src/execute/f.ts', '../device/device.js'],
  ['runtime/src/train/g.test.ts', '../../testing/numbers.js'],
  ['runtime/testing/h.ts', '#runtime/train/train.js'],
];

const line = (imported: string): string =>
  imported.startsWith('type ')
    ? `export type { X } from '${imported.slice('type '.length)}';\n`
    : `export { X } from '${imported}';\n`;

let workspace: string;
let report: string;

beforeAll(() => {
  workspace = mkdtempSync(join(tmpdir(), 'monta-layers-'));
  cpSync(join(root, 'oxlint.config.mjs'), join(workspace, 'oxlint.config.mjs'));
  cpSync(join(root, 'lint'), join(workspace, 'lint'), { recursive: true });
  const write = (file: string, text: string): void => {
    const path = join(workspace, 'packages', file);
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, text);
  };
  for (const [, file, imported] of broken) write(file, line(imported));
  for (const [file, imported] of allowed) write(file.replace(/(\w)(\.test)?\.ts$/, 'fine-$1$2.ts'), line(imported));
  write('core/src/model/circle.ts', "import type { Back } from './back.js';\nexport type Circle = Back;\n");
  write('core/src/model/back.ts', "import type { Circle } from './circle.js';\nexport type Back = Circle;\n");
  const linter = join(root, 'node_modules', 'oxlint', 'bin', 'oxlint');
  const { stdout, stderr } = spawnSync(
    process.execPath,
    [linter, '-c', 'oxlint.config.mjs', '--format', 'unix', 'packages'],
    { cwd: workspace, encoding: 'utf8' },
  );
  report = stdout + stderr;
});
afterAll(() => rmSync(workspace, { recursive: true, force: true }));

const complaints = (file: string): string =>
  report
    .split('\n')
    .filter((one) => one.includes(`packages/${file}:`))
    .join('\n');

describe('the layering', () => {
  it.each(broken)('%s: %s may not import %s', (_, file) => {
    expect(complaints(file)).toContain('no-restricted-imports');
  });

  it('no circles, of types neither', () => {
    expect(complaints('core/src/model/circle.ts')).toContain('no-cycle');
  });

  it('says nothing of what is allowed', () => {
    expect(report).not.toContain('fine-');
  });
});
