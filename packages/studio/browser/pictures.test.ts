/**
 * Pictures in Chromium at 1280 and 420 px, in light and dark: the report and the drawings of docs/. Each is laid beside
 * the one that was looked at, both as a coarse grid of greys: `pictures.json`, which `UPDATE_PICTURES=1 npm run
 * test:studio` writes anew, for somebody to look at what it leaves in /tmp/monta-pictures.
 */
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { renderReport } from '@monta/views';
import type { Browser, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { exampleReport } from '../../views/testing/example-report.js';
import { launch, root } from './studio-page.js';

const update = process.env['UPDATE_PICTURES'] === '1';
const file = join(root, 'packages/studio/browser/pictures.json');
const known = JSON.parse(readFileSync(file, 'utf8')) as Record<string, string>;
const made: Record<string, string> = {};
const folder = join(tmpdir(), 'monta-pictures');

/** Cells across a picture, and greys that are told apart. */
const [columns, greys] = [24, 16];
/** Cells further apart than this, in greys, are far off. */
const far = 4;

/** How far a picture may be from the one that was looked at: mean of cells in greys, share far off, and height. */
interface Likeness {
  readonly mean: number;
  readonly farShare: number;
  readonly height: number;
}
/** Fonts differ from machine to machine; the data of drawings change when they are made anew. */
const alike = {
  page: { mean: 0.7, farShare: 0.04, height: 0.05 },
  drawing: { mean: 1.5, farShare: 0.12, height: 0.2 },
} as const satisfies Record<string, Likeness>;

let browser: Browser;
let painter: Page;

beforeAll(async () => {
  browser = await launch();
  painter = await browser.newPage();
  if (update) mkdirSync(folder, { recursive: true });
});

afterAll(async () => {
  await browser.close();
  if (update) writeFileSync(file, `${JSON.stringify(made, null, 1)}\n`);
});

/** A picture as rows of cells, each a hexadecimal grey. */
const gridOf = (png: Buffer): Promise<string> =>
  painter.evaluate(
    async ({ data, width, most }) => {
      const image = await createImageBitmap(await (await fetch(`data:image/png;base64,${data}`)).blob());
      const height = Math.max(1, Math.round((image.height / image.width) * width));
      const canvas = new OffscreenCanvas(width, height);
      const context = canvas.getContext('2d');
      if (context === null) throw new Error('no canvas');
      context.imageSmoothingQuality = 'high';
      context.drawImage(image, 0, 0, width, height);
      const { data: pixels } = context.getImageData(0, 0, width, height);
      return Array.from({ length: height }, (_, row) =>
        Array.from({ length: width }, (__, column) => {
          const at = 4 * (row * width + column);
          const grey = 0.299 * (pixels[at] ?? 0) + 0.587 * (pixels[at + 1] ?? 0) + 0.114 * (pixels[at + 2] ?? 0);
          return Math.min(most - 1, Math.floor((grey * most) / 256)).toString(most);
        }).join(''),
      ).join(' ');
    },
    { data: png.toString('base64'), width: columns, most: greys },
  );

/** How far two grids are apart, rows laid over each other by their share of the height. */
function distance(one: string, other: string): Likeness {
  const [a, b] = [one.split(' '), other.split(' ')];
  const greyOf = (grid: string[], row: number, column: number): number =>
    Number.parseInt(grid[Math.floor((row / a.length) * grid.length)]?.[column] ?? '0', greys);
  const differences = a.flatMap((_, row) =>
    Array.from({ length: columns }, (__, column) => Math.abs(greyOf(a, row, column) - greyOf(b, row, column))),
  );
  const sum = differences.reduce((total, difference) => total + difference, 0);
  return {
    mean: sum / differences.length,
    farShare: differences.filter((difference) => difference > far).length / differences.length,
    height: Math.abs(b.length / a.length - 1),
  };
}

const drawings = readdirSync(join(root, 'docs'))
  .filter((name) => name.endsWith('.svg'))
  .map((name) => ({ name, body: readFileSync(join(root, 'docs', name), 'utf8') }));
const subjects = [
  { name: 'report', most: alike.page, content: renderReport(exampleReport()) },
  ...drawings.map(({ name, body }) => ({
    name,
    most: alike.drawing,
    content: `<!doctype html><style>body{margin:0}svg{display:block;width:100%;height:auto}</style>${body}`,
  })),
];
/** px of letters that can still be read, and of a page's margins on a narrow screen. */
const [readable, margins] = [9, 48];

const screens = [1280, 420].flatMap((width) =>
  (['light', 'dark'] as const).map((colorScheme) => ({ width, colorScheme })),
);

describe.each(screens)('at $width px in $colorScheme', ({ width, colorScheme }) => {
  it.each(subjects)('$name looks as it did, and nothing is cut', async ({ name, most, content }) => {
    const context = await browser.newContext({ viewport: { width, height: 800 }, colorScheme });
    const page = await context.newPage();
    await page.setContent(content);
    const png = await page.screenshot({ fullPage: true });
    const cut = await page.evaluate(() => ({
      wide: document.documentElement.scrollWidth,
      texts: [...document.querySelectorAll('svg')].flatMap((svg) => {
        const frame = svg.getBoundingClientRect();
        if (frame.width === 0) return [];
        return [...svg.querySelectorAll('text')]
          .filter((text) => {
            const { left, right, top, bottom } = text.getBoundingClientRect();
            const slack = 2;
            return (
              left < frame.left - slack ||
              right > frame.right + slack ||
              top < frame.top - slack ||
              bottom > frame.bottom + slack
            );
          })
          .map((text) => text.textContent);
      }),
    }));
    const letters = await page.evaluate((lost) => {
      const sizes = [...document.querySelectorAll('svg')].flatMap((svg) => {
        const shown = svg.getBoundingClientRect().width;
        // A drawing alone has the whole screen here, and less of it on a page.
        const scale = (shown - (shown === document.documentElement.clientWidth ? lost : 0)) / svg.viewBox.baseVal.width;
        const texts = shown === 0 ? [] : [...svg.querySelectorAll('text')];
        return texts.map((text) => Number.parseFloat(getComputedStyle(text).fontSize) * scale);
      });
      return sizes.reduce((least, one) => Math.min(least, one), Infinity);
    }, margins);
    await context.close();
    const key = `${name} ${width} ${colorScheme}`;
    const grid = await gridOf(png);
    made[key] = grid;
    if (update) writeFileSync(join(folder, `${key.replaceAll(' ', '-')}.png`), png);
    expect(cut).toEqual({ wide: width, texts: [] });
    expect(letters).toBeGreaterThanOrEqual(readable);
    const apart = distance(update ? grid : (known[key] ?? ''), grid);
    for (const measure of ['mean', 'farShare', 'height'] as const)
      expect({ measure, apart: apart[measure] <= most[measure] }).toEqual({ measure, apart: true });
  });
});
