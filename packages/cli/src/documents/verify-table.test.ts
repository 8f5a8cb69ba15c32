import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { verifiedLayouts } from '@monta/runtime';
import { ranksOf, verifyTable, withRows, type VerifyRow } from './verify-table.js';

const file = (name: string): URL => new URL(`../../../../${name}`, import.meta.url);

const row = (layout: string, given: Partial<VerifyRow> = {}): VerifyRow => ({
  folder: 'tiny-a',
  layout,
  commit: 'aaaaaaaa',
  dispatchers: 2,
  quantities: 14,
  past: 0,
  worst: 0.01,
  of: 'logits, sliced',
  ...given,
});

describe('the table of verified folders', () => {
  it('says what was not run, what is past its tolerance, and every commit', () => {
    const rows = withRows([row('tp=2'), row('tp=1')], [row('tp=2,sp', { commit: 'bbbbbbbb', past: 3, worst: 2 })]);
    const [, , one, two, four, eight] = verifyTable(rows).split('\n');
    expect(one).toBe('| tiny-a | 1 | 1 of 1 | 2 | 14 of 14 | 1.0 % (logits, sliced, `tp=1`) | aaaaaaaa |');
    expect(two).toBe(
      '| tiny-a | 2 | 2 of 4 | 4 | 25 of 28 | 2.0e+2 % (logits, sliced, `tp=2,sp`) | aaaaaaaa, bbbbbbbb |',
    );
    expect(four).toBe('| tiny-a | 4 | 0 of 4 | 0 | not run | | |');
    expect(eight).toBe('| tiny-a | 8 | 0 of 6 | 0 | not run | | |');
  });

  it('takes a later run in place of an earlier one, and leaves out layouts that are none of its', () => {
    const rows = withRows([row('tp=2', { past: 1 }), row('tp=3')], [row('tp=2', { commit: 'bbbbbbbb' })]);
    expect(rows).toEqual([row('tp=2', { commit: 'bbbbbbbb' })]);
  });

  it('stands in docs/verify.md as docs/verify.json says', () => {
    const rows = JSON.parse(readFileSync(file('docs/verify.json'), 'utf8')) as VerifyRow[];
    expect(withRows(rows, [])).toEqual(rows);
    expect(readFileSync(file('docs/verify.md'), 'utf8')).toContain(`\n\n${verifyTable(rows)}\n\n`);
    const folders = readdirSync(file('fixtures/hf')).filter((name) =>
      existsSync(file(`fixtures/hf/${name}/expected.safetensors`)),
    );
    expect([...new Set(rows.map(({ folder }) => folder))]).toEqual(folders.sort());
    expect(rows.filter(({ past }) => past > 0)).toEqual([]);
    expect(new Set(verifiedLayouts.map(ranksOf))).toEqual(new Set([1, 2, 4, 8]));
  });
});
