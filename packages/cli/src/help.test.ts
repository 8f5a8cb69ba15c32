/** Help as people ask for it, in a terminal of 80 columns. */
import { describe, expect, it } from 'vitest';
import { monta } from '../testing/run-monta.js';
import { routes } from './app.js';
import { helpColumns } from './help.js';
import { textWidth } from './output/text-width.js';

const commands = [...Object.keys(routes).map((name) => [name]), ['bench', 'dispatch'], ['bench', 'layer']];

describe('monta --help', () => {
  it('opens with what Monta is, and lists every command once', async () => {
    const { out, code } = await monta('--help');
    expect(code).toBe(0);
    expect(out.split('\n')[0]).toMatch(/^Monta makes Mixture-of-Experts training faster/u);
    for (const name of Object.keys(routes))
      expect(out.match(new RegExp(`^ {2}${name} {2,}\\S`, 'gmu'))).toHaveLength(1);
    for (const inputs of [[], ['help'], ['-h']]) expect((await monta(...inputs)).out).toBe(out);
    for (const line of out.split('\n')) expect(textWidth(line)).toBeLessThanOrEqual(helpColumns);
  });
});

describe.each(commands)('monta help %s %s', (...names) => {
  const words = names.filter((name): name is string => typeof name === 'string');

  it('is what --help prints, in 80 columns, with a usage line of its own', async () => {
    const { out, code, err } = await monta('help', ...words);
    expect({ code, err }).toEqual({ code: 0, err: '' });
    expect(out).toBe((await monta(...words, '--help')).out);
    for (const line of out.split('\n'))
      expect({ line, fits: textWidth(line) <= helpColumns }).toEqual({ line, fits: true });
    expect(out).toContain(`USAGE\n  monta ${words.join(' ')}`);
  });
});

it('help of what is no command suggests one', async () => {
  expect(await monta('help', 'paln')).toMatchObject({ code: 2, err: expect.stringContaining('did you mean plan?') });
});

describe('monta completion', () => {
  it.each(['bash', 'zsh', 'fish', 'BASH'])('prints a script for %s', async (shell) => {
    const { out, code } = await monta('completion', shell);
    expect(code).toBe(0);
    expect(out).toContain('monta __complete');
  });

  it('refuses other shells', async () => {
    expect(await monta('completion', 'tcsh')).toMatchObject({ code: 2, out: '' });
  });

  it.each([
    [['pl'], ['plan']],
    [['plan', '--glo'], ['--global-batch']],
    [
      ['plan', '--scope', ''],
      ['dispatch', 'layer'],
    ],
    [
      ['bench', ''],
      ['collectives', 'dispatch', 'layer'],
    ],
    [['completion', 'z'], ['zsh']],
  ])('proposes what can follow %j', async (line, expected) => {
    const { out } = await monta('__complete', ...line);
    expect(out.trim().split('\n').sort()).toEqual(expected);
  });
});
