/** How long people wait, measured in the page: from what they do until it is painted. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Page } from 'playwright-core';
import { kinetoTrace } from './made-trace.js';

const median = (values: readonly number[]): number => [...values].sort((a, b) => a - b)[values.length >> 1] ?? 0;

/** Median milliseconds from a slider's event until its answer is painted, over its positions. */
export async function sliderMilliseconds(page: Page, label: string, positions: readonly number[]): Promise<number> {
  await page.locator('.verdict').waitFor();
  const slider = page.getByLabel(label);
  const waited: number[] = [];
  for (const position of positions) {
    waited.push(
      await slider.evaluate(
        (input: HTMLInputElement, to) =>
          new Promise<number>((resolve) => {
            const verdict = document.querySelector('.verdict');
            const began = performance.now();
            const observer = new MutationObserver(() => {
              observer.disconnect();
              // The second frame begins after the first one was painted.
              requestAnimationFrame(() => requestAnimationFrame(() => resolve(performance.now() - began)));
            });
            if (verdict !== null) observer.observe(verdict, { characterData: true, childList: true, subtree: true });
            input.value = String(to);
            input.dispatchEvent(new Event('input', { bubbles: true }));
          }),
        position,
      ),
    );
    // As a hand rests for a moment.
    await page.waitForTimeout(300);
  }
  return median(waited);
}

/** Writes a trace of about so many bytes, drops it, and says after how many milliseconds it is painted. */
export async function openingMilliseconds(page: Page, folder: string, events: number): Promise<number> {
  const path = join(folder, `made-${events}.json`);
  writeFileSync(path, kinetoTrace(events, 32));
  const input = page.locator('input[type=file][aria-label="open a trace"]');
  await input.waitFor({ state: 'attached' });
  await page.evaluate((name) => {
    const waiting = globalThis as unknown as { opened: Promise<number> };
    waiting.opened = new Promise((resolve) => {
      addEventListener(
        'change',
        () => {
          const began = performance.now();
          const look = (): void => {
            const shown = [...document.querySelectorAll('h2')].some(({ textContent }) => textContent?.includes(name));
            requestAnimationFrame(shown ? () => resolve(performance.now() - began) : look);
          };
          look();
        },
        { once: true, capture: true },
      );
    });
  }, `made-${events}.json`);
  await input.setInputFiles(path);
  return page.evaluate(() => (globalThis as unknown as { opened: Promise<number> }).opened);
}

/** Frames a second while the first timeline is zoomed and moved. */
export async function framesPerSecond(page: Page): Promise<number> {
  return page.locator('.timeline canvas').evaluate(
    (canvas, frames) =>
      new Promise<number>((resolve) => {
        let [count, began] = [0, 0];
        const { left, top, width } = canvas.getBoundingClientRect();
        const at = { clientX: left + width / 3, clientY: top + 60, bubbles: true, cancelable: true };
        const step = (now: number): void => {
          if (count === 0) began = now;
          if (count === frames) {
            resolve((1000 * frames) / (now - began));
            return;
          }
          count += 1;
          // In, along, out again, along.
          const phase = Math.floor(count / 15) % 4;
          if (phase % 2 === 0) canvas.dispatchEvent(new WheelEvent('wheel', { ...at, deltaY: phase === 0 ? -1 : 1 }));
          else canvas.dispatchEvent(new KeyboardEvent('keydown', { key: 'ArrowRight', bubbles: true }));
          requestAnimationFrame(step);
        };
        requestAnimationFrame(step);
      }),
    180,
  );
}
