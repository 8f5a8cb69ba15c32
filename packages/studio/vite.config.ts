/** Builds the static site: a page, its worker, a style sheet; relative addresses, so that any host can serve it. */
import { colourRules, themeVariables } from '@monta/views';
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

export default defineConfig({
  base: './',
  plugins: [theme()],
  oxc: { jsx: { runtime: 'automatic', importSource: 'preact' } },
  worker: { format: 'es' },
  build: { target: 'es2022', assetsInlineLimit: 0, modulePreload: { polyfill: false } },
});
