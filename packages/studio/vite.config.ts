/** Builds the static site: a page, its worker, a style sheet; relative addresses, so that any host can serve it. */
import { colourRules, themeVariables } from '@monta/views';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { defineConfig, type Plugin } from 'vite';

/** The colours of the drawings as a style sheet: a page under a strict policy cannot have them in the drawings. */
const theme = (): Plugin => ({
  name: 'theme',
  resolveId: (id) => (id === 'virtual:theme.css' ? '\0theme.css' : undefined),
  load: (id) =>
    id === '\0theme.css'
      ? `:root{color-scheme:light dark;${themeVariables('light')}}` +
        `@media (prefers-color-scheme:dark){:root{${themeVariables('dark')}}}${colourRules('')}`
      : undefined,
});

/** The script that keeps the page's files for when there is no network. */
const offlineName = 'offline.js';

/** Tells that script which files there are. */
const offline = (): Plugin => ({
  name: 'offline',
  writeBundle: ({ dir = '' }) => {
    const names = readdirSync(dir, { recursive: true, encoding: 'utf8' }).filter((name) => /\.(js|css)$/u.test(name));
    const files = names.filter((name) => name !== offlineName).sort();
    const path = join(dir, offlineName);
    writeFileSync(path, `const pageFiles = ${JSON.stringify(files)};\n${readFileSync(path, 'utf8')}`);
  },
});

export default defineConfig({
  base: './',
  plugins: [theme(), offline()],
  oxc: { jsx: { runtime: 'automatic', importSource: 'preact' } },
  worker: { format: 'es' },
  build: {
    target: 'es2022',
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    rolldownOptions: {
      input: {
        index: join(import.meta.dirname, 'index.html'),
        offline: join(import.meta.dirname, 'src/offline/offline-worker.ts'),
      },
      output: { entryFileNames: ({ name }) => (name === 'offline' ? offlineName : 'assets/[name]-[hash].js') },
    },
  },
});
