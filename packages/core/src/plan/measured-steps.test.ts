import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { median } from '../units/quantiles.js';
import { publishedStepRatios, readMeasuredSteps, stepRatios } from './measured-steps.js';
import { maxOf, minOf } from '../units/index.js';

const name = 'training-steps.csv';
const steps = readMeasuredSteps(readFileSync(new URL(`./fixtures/${name}`, import.meta.url), 'utf8'), name);

describe('training steps that others timed', () => {
  const all = stepRatios(steps);
  const alike = all.filter(({ measured }) => measured.sameBytes);
  const of = (source: string): number[] =>
    alike.filter(({ measured }) => measured.source === source).map(({ ratio }) => ratio);

  it('take longer than links and kernels alone, within 20 % where the stack keeps the GPU fed', () => {
    for (const { ratio } of alike) expect(ratio).toBeGreaterThan(1);
    for (const ratio of [...of('dgxc'), ...of('automodel')]) expect(ratio).toBeLessThan(1.2);
  });

  it('range as plan and simulate say beside a step', () => {
    const ratios = alike.map(({ ratio }) => ratio);
    const { least, median: middle, most } = publishedStepRatios;
    expect(minOf(ratios) / least).toBeCloseTo(1, 1);
    expect(median(ratios) / middle).toBeCloseTo(1, 1);
    expect(maxOf(ratios) / most).toBeCloseTo(1, 1);
  });

  it('are ranked by layout as they were timed: Grok-1 on 8, 16 and 32 GPUs', () => {
    const grok = all.filter(({ measured }) => measured.source === 'dgxc');
    const byTime = [...grok].sort((a, b) => a.measured.seconds - b.measured.seconds);
    const predicted = byTime.map(({ predictedSeconds }) => predictedSeconds);
    expect(predicted).toHaveLength(3);
    expect(predicted).toEqual([...predicted].sort((a, b) => a - b));
  });
});
