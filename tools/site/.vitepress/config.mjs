/** The docs site: the repository's own pages, in the groups of README's table. Nothing is loaded from elsewhere. */
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../../..', import.meta.url));

const page = (text, link) => ({ text, link });

export default {
  title: 'Monta',
  description: 'Makes Mixture-of-Experts training faster: plans, explains and runs the communication of MoE layers',
  srcDir: root,
  srcExclude: [
    '**/node_modules/**',
    'packages/**',
    'fixtures/**',
    'runs/**',
    'docs-site/**',
    'tools/**',
    '.changeset/**',
  ],
  outDir: `${root}docs-site`,
  rewrites: { 'README.md': 'index.md' },
  markdown: { theme: { light: 'github-light', dark: 'github-dark' } },
  lastUpdated: false,
  // Pictures stay files beside the pages: tools/site.mjs copies what pages show and link to.
  vue: { template: { transformAssetUrls: false } },
  // Files of the repository that pages link to are copied, and all links followed, behind the build: tools/site.mjs.
  ignoreDeadLinks: [(link) => !/(?:\/|\.md|\.html)$/u.test(link)],
  themeConfig: {
    search: { provider: 'local' },
    outline: [2, 3],
    nav: [page('Tutorial', '/docs/tutorial'), page('Library', '/docs/library'), page('Glossary', '/docs/glossary')],
    sidebar: [
      {
        text: 'To learn',
        items: [
          page('Monta', '/'),
          page('Tutorial', '/docs/tutorial'),
          page('Planning', '/docs/planning'),
          page('Which way wins where', '/docs/choices'),
          page('The choice on the emulated fabric', '/docs/emulated'),
          page('Accuracy', '/docs/accuracy'),
          page('The estimate of a step', '/docs/estimate'),
          page("The paper's figures", '/docs/paper'),
        ],
      },
      {
        text: 'To do',
        items: [
          page('From Megatron-Core', '/docs/from-megatron-core'),
          page('From DeepSpeed', '/docs/from-deepspeed'),
          page('It does not fit', '/docs/does-not-fit'),
          page('My all_to_all is slow', '/docs/slow-all-to-all'),
          page('Calibrate', '/docs/calibration'),
          page('Flags of a plan', '/docs/export'),
          page('Profiles of other programs', '/docs/profiles'),
          page('Hosts over MPI', '/docs/mpi'),
          page('Two hosts', '/docs/two-hosts'),
          page('A GPU', '/docs/gpu'),
          page('NCCL', '/docs/nccl'),
          page('Studio', '/docs/studio'),
        ],
      },
      {
        text: 'To look up',
        items: [
          page('Keys of every file', '/docs/keys'),
          page('The library', '/docs/library'),
          page('What --json prints', '/docs/json'),
          page('Dispatchers', '/docs/dispatchers'),
          page('Bytes on every port', '/docs/bytes'),
          page('What lint checks', '/docs/lint'),
          page('Memory', '/docs/memory'),
          page('Checkpoints', '/docs/checkpoints'),
          page('Traces', '/docs/traces'),
          page('Examples', '/examples/README'),
          page('Glossary', '/docs/glossary'),
          page('FAQ', '/docs/faq'),
          page('Security', '/docs/security'),
        ],
      },
      {
        text: 'How it is made',
        collapsed: true,
        items: [
          page('Architecture', '/docs/architecture'),
          page('Schedule', '/docs/schedule'),
          page('Runtime', '/docs/runtime'),
          page('Tests', '/docs/testing'),
          page('Verify', '/docs/verify'),
          page('Contribute', '/CONTRIBUTING'),
          page('Changelog', '/CHANGELOG'),
        ],
      },
    ],
  },
};
