import { describe, expect, it } from 'vitest';
import { formatClock, Progress, renderBar } from './progress.js';
import { textWidth } from './text-width.js';

function recorder(columns: number | undefined, total = 300) {
  let time = 0;
  const written: string[] = [];
  const progress = new Progress({
    label: 'Train',
    total,
    columns,
    write: (text) => written.push(text),
    now: () => time,
  });
  return { progress, written, wait: (seconds: number) => (time += seconds) };
}

const state = { done: 182, loss: 2.3141, tokensPerSecond: 11_420.3, secondsPerStep: 0.0416 };

describe('Progress', () => {
  it('draws everything on a wide terminal, with the time left from the pace so far', () => {
    const { progress, written, wait } = recorder(120);
    wait(182 * 0.05);
    progress.update(state);
    expect(written).toEqual([
      '\r\u001B[2KTrain   ████████████░░░░░░░░  182/300   loss 2.314   11,420 tok/s   41.6 ms/step   0:06 left',
    ]);
  });

  it.each([20, 30, 45, 60, 75, 90])('never fills a terminal of %i columns', (columns) => {
    const { progress, written } = recorder(columns);
    progress.update(state);
    const drawn = (written[0] ?? '').replace('\r\u001B[2K', '');
    expect(drawn).toContain('182/300');
    expect(textWidth(drawn)).toBeLessThan(columns);
  });

  it('prints few lines where there is no terminal, and always the last', () => {
    const { progress, written, wait } = recorder(undefined, 1000);
    for (let done = 1; done <= 1000; done++) {
      wait(0.04);
      progress.update({ ...state, done });
    }
    progress.finish();
    expect(written.length).toBe(5);
    expect(written.at(-1)).toContain('1000/1000');
    expect(written.every((line) => line.endsWith('\n') && !line.includes('\u001B'))).toBe(true);
  });

  it('clears the line for other output and draws it again', () => {
    const { progress, written, wait } = recorder(120);
    wait(1);
    progress.update(state);
    progress.clear();
    progress.update({ ...state, done: 183 });
    progress.finish();
    expect(written[1]).toBe('\r\u001B[2K');
    expect(written[2]).toContain('183/300');
    expect(written.at(-1)).toBe('\n');
  });
});

describe('formatClock', () => {
  it.each([
    [0, '0:00'],
    [5.4, '0:05'],
    [59.6, '1:00'],
    [760, '12:40'],
    [10_931, '3:02:11'],
  ])('%d s is %s', (seconds, text) => expect(formatClock(seconds)).toBe(text));
});

describe('renderBar', () => {
  it('is full at the end and empty at the start, whatever it is given', () => {
    expect(renderBar(0, 4)).toBe('░░░░');
    expect(renderBar(1.5, 4)).toBe('████');
    expect(renderBar(-1, 4)).toBe('░░░░');
  });
});
