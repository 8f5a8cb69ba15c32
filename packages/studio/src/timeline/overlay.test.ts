import { expect, it } from 'vitest';
import { readSubject } from '../subject/subject.js';
import { layerTrace, openTrace } from './opened-trace.js';
import { overlaid } from './overlay.js';

const subject = await readSubject({ fields: { model: '2x70b', cluster: 'a800-2x8' }, files: {} });
const sliders = { tp: 2, ep: 2, tokens: 512, skew: 0, network: 1, inside: 1 };
const layer = layerTrace(sliders, subject, 'forward');

const kernels = [...Array(5).keys()].map((i) => ({
  ph: 'X',
  name: `gemm ${i}`,
  cat: 'kernel',
  pid: 0,
  tid: 7,
  ts: 100 + 50 * i,
  dur: 40,
}));
const bytes = new TextEncoder().encode(JSON.stringify({ traceEvents: kernels })).buffer;

it('keeps both sources, moves the simulated one, and orders every lane', () => {
  const measured = openTrace('kineto.json', bytes);
  const both = overlaid(measured, layer, 0.25);
  const lanes = layer.rows.filter((name) => name.startsWith('rank 0 '));
  expect(both.rows).toEqual([...lanes.map((name) => `${name} · simulated`), ...measured.rows]);
  const ofLanes = [...layer.row].filter((row) => lanes.includes(layer.rows[row] ?? '')).length;
  expect(both.issued.length).toBe(ofLanes + kernels.length);
  expect(both.issued.slice(0, ofLanes).reduce((least, one) => Math.min(least, one))).toBeCloseTo(0.25, 6);
  expect(both.issued.slice(ofLanes)).toEqual(measured.issued);
  expect(both.tasks.slice(0, 5)).toEqual(kernels.map(({ name }) => name));
  expect(Array.from(both.task.slice(ofLanes), (task) => both.tasks[task])).toEqual(kernels.map(({ name }) => name));
});

it('sets lanes that both have under one another', () => {
  const twice = overlaid(layer, layer, 0);
  expect(twice.rows.slice(0, 2)).toEqual([`${layer.rows[0]} · simulated`, `${layer.rows[0]} · measured`]);
  expect(twice.issued.length).toBe(2 * layer.issued.length);
  expect(twice.tasks).toEqual(layer.tasks);
});
