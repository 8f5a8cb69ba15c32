/** The library in Chromium: every example prints there what it prints in Node, and the figures are the same. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import * as library from '@monta/core/library';
import type { Browser, Page } from 'playwright-core';
import { build } from 'vite';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { examplesIn } from '../../core/testing/library-examples.js';
import { launch, root } from './studio-page.js';

const sources = join(root, 'packages/core/src/library');
const examples = readdirSync(sources)
  .filter((name) => /^[a-z-]+\.ts$/u.test(name))
  .flatMap((name) => examplesIn(readFileSync(join(sources, name), 'utf8')));

let browser: Browser;
let page: Page;

/** The built library as one script with a global `library`; fails where something of Node's is in it. */
async function bundle(): Promise<string> {
  const built = await build({
    configFile: false,
    root,
    logLevel: 'silent',
    build: {
      write: false,
      minify: false,
      lib: { entry: join(root, 'packages/core/dist/library/index.js'), formats: ['iife'], name: 'library' },
      rollupOptions: {
        onwarn: ({ message }) => {
          throw new Error(message);
        },
      },
    },
  });
  const [output] = Array.isArray(built) ? built : [built];
  if (output === undefined || !('output' in output)) throw new Error('nothing was built');
  return output.output[0].code;
}

beforeAll(async () => {
  const [script, started] = await Promise.all([bundle(), launch()]);
  browser = started;
  page = await browser.newPage();
  await page.addScriptTag({ content: script });
});

afterAll(() => browser.close());

/** Runs statements in the page with the library's names in scope; gives what they printed. */
const inPage = (code: string): Promise<string[]> =>
  page.evaluate<string[]>(`(() => {
    const printed = [];
    const console = { log: (...values) => void printed.push(values.map(String).join(' ')) };
    const { ${Object.keys(library).join(', ')} } = globalThis.library;
    ${code}
    return printed;
  })()`);

/** Chromium and Node round powers and logarithms differently in the last place. */
const rounded = (text: string): unknown =>
  JSON.parse(text, (_, one: unknown) => (typeof one === 'number' ? Number(one.toPrecision(12)) : one));

describe('the library in Chromium', () => {
  it.each(examples)('prints what $of prints: $code', async ({ code, printed }) => {
    expect(await inPage(code)).toEqual(printed);
  });

  it('gives the plan and the timeline that Node gives, to 12 digits', async () => {
    const layer = { model: '2x70b', cluster: 'a800-2x8', layout: 'tp=8,dp=2,ep=2', dispatch: 'scattered:4' };
    const asked = { model: 'mixtral-8x7b', cluster: 'h100-2x8', layout: 'tp=2,dp=8,ep=8' };
    const [planned = '', simulated = ''] = await inPage(
      `console.log(JSON.stringify(plan(${JSON.stringify(asked)}).document));
       console.log(JSON.stringify(simulate(${JSON.stringify(layer)})));`,
    );
    expect(rounded(planned)).toEqual(rounded(JSON.stringify(library.plan(asked).document)));
    expect(rounded(simulated)).toEqual(rounded(JSON.stringify(library.simulate(layer))));
  });

  it('complains as in Node', async () => {
    const code = `try { plan({ model: 'mixtral-8x7x', cluster: 'h100-2x8' }); }
      catch (error) { console.log(error instanceof InputError, error.hint); }`;
    expect((await inPage(code))[0]).toMatch(/^true did you mean mixtral-8x7b/u);
  });
});
