/**
 * Pages of the built docs site in Chromium at 1280 and 420 px, in light and dark. Nothing is wider than the screen, and
 * text stands out from its ground. Title, column, bar and list lie where they lay when seen last: site/boxes.json,
 * which `UPDATE_PICTURES=1` writes anew, with pictures in /tmp/monta-pictures. Runs behind `npm run docs:site`.
 */
import { createServer } from 'node:http';
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';
import { chromium } from 'playwright-core';

const root = fileURLToPath(new URL('..', import.meta.url));
const site = join(root, 'docs-site');
const file = join(root, 'tools/site/boxes.json');
const update = process.env['UPDATE_PICTURES'] === '1';
const known = JSON.parse(readFileSync(file, 'utf8'));
const folder = join(tmpdir(), 'monta-pictures');
if (update) mkdirSync(folder, { recursive: true });

/** Pixels that a box may move: fonts differ. */
const slack = 24;
/** Of text over its ground, as WCAG asks of plain text. */
const leastContrast = 4.5;
/** Pages whose boxes are compared; all are looked over for width. */
const compared = ['index.html', 'docs/tutorial.html', 'docs/library.html', 'docs/glossary.html', 'docs/keys.html'];
const parts = { title: '.vp-doc h1', text: '.vp-doc h1 + p', column: '.vp-doc', bar: '.VPNav', list: '.VPSidebar' };
const types = { html: 'text/html', js: 'text/javascript', css: 'text/css', svg: 'image/svg+xml', woff2: 'font/woff2' };

const server = createServer(({ url }, response) => {
  const path = join(site, decodeURIComponent(url.split(/[?#]/u)[0]));
  response.statusCode = existsSync(path) ? 200 : 404;
  response.setHeader('content-type', types[path.split('.').at(-1)] ?? 'text/plain');
  response.end(response.statusCode === 200 ? readFileSync(path) : '');
});
await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
const address = `http://127.0.0.1:${server.address().port}/`;

const browser = await chromium.launch({
  executablePath: process.env['CHROMIUM'] ?? '/usr/bin/chromium',
  args: ['--no-sandbox'],
});
const made = {};
const wrong = [];

/** Boxes of the parts, and how text stands out; runs in the page. */
const measure = (selectors) => {
  const luminance = (colour) => {
    const [red, green, blue] = colour
      .match(/[\d.]+/gu)
      .slice(0, 3)
      .map((value) => value / 255)
      .map((value) => (value <= 0.03928 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4));
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
  };
  const [ink, ground] = [document.querySelector('.vp-doc p'), document.body]
    .map((element, index) => getComputedStyle(element)[index === 0 ? 'color' : 'backgroundColor'])
    .map(luminance);
  const boxes = Object.entries(selectors).map(([name, selector]) => {
    const { left, top, width } = document.querySelector(selector).getBoundingClientRect();
    return [name, [left, top, width].map(Math.round)];
  });
  return {
    boxes: Object.fromEntries(boxes),
    ground,
    contrast: (Math.max(ink, ground) + 0.05) / (Math.min(ink, ground) + 0.05),
  };
};

async function look(page, path, screen) {
  await page.goto(address + path);
  await page.locator('.vp-doc').waitFor();
  const key = `${path} ${screen.width} ${screen.colorScheme}`;
  const { wide, cut } = await page.evaluate(() => ({
    wide: document.documentElement.scrollWidth,
    cut: [...document.images].filter(({ naturalWidth, complete }) => complete && naturalWidth === 0).length,
  }));
  if (wide > screen.width) wrong.push(`${key}: ${wide} px wide`);
  if (cut > 0) wrong.push(`${key}: ${cut} pictures are not there`);
  if (!compared.includes(path)) return;
  const { boxes, ground, contrast } = await page.evaluate(measure, parts);
  made[key] = boxes;
  if (update) await page.screenshot({ path: join(folder, `${key.replaceAll(/\W+/gu, '-')}.png`) });
  if (contrast < leastContrast) wrong.push(`${key}: text has a contrast of ${contrast.toFixed(1)}`);
  if (ground > 0.5 === (screen.colorScheme === 'dark')) wrong.push(`${key}: the ground is not ${screen.colorScheme}`);
  for (const [name, box] of update ? [] : Object.entries(boxes))
    if (box.some((value, index) => !(Math.abs(value - (known[key]?.[name]?.[index] ?? NaN)) <= slack)))
      wrong.push(`${key}: ${name} lies at ${box.join(', ')}, and not at ${known[key]?.[name]?.join(', ')}`);
}

try {
  const pages = readdirSync(site, { recursive: true, encoding: 'utf8' }).filter(
    (path) => path.endsWith('.html') && path !== '404.html',
  );
  for (const width of [1280, 420])
    for (const colorScheme of ['light', 'dark']) {
      const context = await browser.newContext({ viewport: { width, height: 800 }, colorScheme });
      const page = await context.newPage();
      // Colours make nothing wider.
      for (const path of colorScheme === 'light' ? pages : compared) await look(page, path, { width, colorScheme });
      await context.close();
    }
  process.stdout.write(
    `${pages.length} pages at 1280 and 420 px, ${compared.length} of them compared in light and dark\n`,
  );
} finally {
  await browser.close();
  server.close();
}
if (update) writeFileSync(file, `${JSON.stringify(made, null, 1)}\n`);
for (const one of wrong) process.stderr.write(`${one}\n`);
process.exitCode = wrong.length > 0 ? 1 : 0;
