/**
 * The layering of docs/architecture.md as rules of the linter: who may import whom, types included. `layers.test.ts`
 * breaks each rule once. A file has one list of forbidden imports, that of the last area below that it lies in.
 */
import { builtinModules } from 'node:module';

/** Folders of core; each imports only from those before it. */
export const coreOrder = [
  'units',
  'cluster',
  'model',
  'layout',
  'routing',
  'schedule',
  'traffic',
  'cost',
  'memory',
  'trace',
  'profiles',
  'simulate',
  'estimate',
  'plan',
  'frameworks',
  'doctor',
  'library',
];

/** What the emulated network may not know of core. */
const unknownToFabric = coreOrder.filter((name) => !['units', 'cluster', 'layout', 'traffic'].includes(name));

const forbid = (regex, message) => ({ regex, message });

/** Folders given by their path below `src`, from anywhere below `src`. */
const folders = (...paths) => `^(\\./|(\\.\\./)+)(.*/)?(${paths.join('|')})/`;

const noTests = [
  forbid('^(vitest|fast-check)(/|$)', 'published code imports no tools of tests'),
  forbid('(^|/)testing/|\\.test\\.js$', 'published code imports nothing that only tests use'),
];
const noNode = forbid(
  `^(node:|(${builtinModules.filter((name) => !name.startsWith('_')).join('|')})(/|$))`,
  'runs in a browser too: no Node',
);
const noPackage = (...names) => forbid(`^(${names.join('|')})(/|$)`, `imports neither of ${names.join(', ')}`);
const noNative = forbid('^koffi$', 'native libraries belong to comm/* and device/*');

const core = [...noTests, noNode, noNative, noPackage('@monta/views', '@monta/runtime', 'monta')];
const views = [...noTests, noNode, noNative, noPackage('@monta/runtime', 'monta')];
const studio = [...noTests, noNode, noNative, noPackage('@monta/runtime', 'monta')];
const runtime = [...noTests, noNative, noPackage('@monta/views', 'monta')];
const native = runtime.filter((one) => one !== noNative);

const areas = [
  ['packages/core/src/**', core],
  ...coreOrder.map((folder, place) => {
    const later = coreOrder.slice(place + 1);
    const order = forbid(
      `^(\\.\\./)+(${later.join('|')})/`,
      `core/${folder} imports only from ${coreOrder.slice(0, place).join(', ') || 'itself'}`,
    );
    return [`packages/core/src/${folder}/**`, later.length > 0 ? [...core, order] : core];
  }),
  ['packages/views/src/**', views],
  ['packages/studio/src/**', studio],
  ['packages/runtime/src/**', runtime],
  [
    'packages/runtime/src/execute/**',
    [
      ...runtime,
      forbid(
        folders('comm/local', 'comm/mpi', 'comm/nccl', 'device/cpu', 'device/cuda'),
        'the executor knows no device and no backend',
      ),
    ],
  ],
  ['packages/runtime/src/device/**', native],
  ['packages/runtime/src/comm/**', native],
  ...['mpi', 'nccl'].map((backend) => [
    `packages/runtime/src/comm/${backend}/**`,
    [...native, forbid('^(\\.\\./)+(comm/)?local/', `comm/${backend} imports nothing from comm/local`)],
  ]),
  [
    'packages/runtime/src/comm/local/**',
    [
      ...native,
      forbid(
        `^@monta/core($|/(${unknownToFabric.join('|')})(/|$))`,
        'the emulated network is a second, independent witness: it knows clusters and paths, no costs and no simulator',
      ),
    ],
  ],
  ['packages/cli/src/**', noTests],
];

const area = ({ files, patterns }) => ({
  files,
  excludeFiles: ['**/*.test.ts'],
  rules: { 'no-restricted-imports': ['error', { patterns }] },
});

/** Overrides for the linter's configuration. */
export const layers = [
  { files: ['packages/*/src/**/*.ts'], rules: { 'import/no-cycle': ['error', { ignoreTypes: false }] } },
  ...areas.map(([files, patterns]) => area({ files: [files], patterns })),
  area({
    files: ['packages/*/testing/**'],
    patterns: [forbid('^(\\.\\./)+src/', 'testing/ names its package as #core/, #views/, #runtime/ or #cli/')],
  }),
];
