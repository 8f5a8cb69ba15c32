import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { KeptChoices } from './kept-choices.js';

const card = {
  name: 'card',
  architecture: 'sm_90',
  multiprocessors: 1,
  l2Bytes: 1,
  totalBytes: 1,
  driverCuda: 13_000,
  runtimeCuda: 13_000,
};

it('the first choice of a product stays, for everybody with such a card', () => {
  const folder = mkdtempSync(join(tmpdir(), 'monta-choices-'));
  const [one, other] = [new KeptChoices(card, undefined, folder), new KeptChoices(card, undefined, folder)];
  expect(one.get('p')).toBeUndefined();
  expect(one.keep('p', 'loop')).toBe('loop');
  expect(other.keep('p', 'batched')).toBe('loop');
  expect(other.get('p')).toBe('loop');
  expect(other.get('q')).toBeUndefined();
  expect(new KeptChoices({ ...card, name: 'another card' }, undefined, folder).get('p')).toBeUndefined();
  expect(readdirSync(folder)).toHaveLength(1);
  rmSync(folder, { recursive: true });
});

it("a run's choice goes before the host's, and stays with the run where the host has none", () => {
  const [run, host, other] = ['run', 'host', 'other'].map((name) => mkdtempSync(join(tmpdir(), `monta-${name}-`)));
  new KeptChoices(card, undefined, host).keep('p', 'loop');
  // A run that begins here takes the host's, and keeps it.
  expect(new KeptChoices(card, run, host).get('p')).toBe('loop');
  // It goes on where another way was measured, and on a host without any.
  new KeptChoices(card, undefined, other).keep('p', 'batched');
  expect(new KeptChoices(card, run, other).get('p')).toBe('loop');
  expect(new KeptChoices(card, run, join(other, 'none yet')).get('p')).toBe('loop');
  expect(new KeptChoices(card, undefined, other).get('p')).toBe('batched');
  for (const folder of [run, host, other]) rmSync(folder, { recursive: true });
});

it('half of a file is no choice', () => {
  const folder = mkdtempSync(join(tmpdir(), 'monta-half-'));
  new KeptChoices(card, undefined, folder).keep('p', 'loop');
  const [file = ''] = readdirSync(folder);
  writeFileSync(join(folder, file), 'lo');
  expect(new KeptChoices(card, undefined, folder).get('p')).toBeUndefined();
  rmSync(folder, { recursive: true });
});
