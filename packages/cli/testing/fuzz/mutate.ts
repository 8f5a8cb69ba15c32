/** Seeded mutations of a file: bytes that flip and vanish, and values that nobody expects where a value stands. */
import type { Random } from '@monta/core';

const strange = [
  '1e308',
  '-1',
  '0',
  '0.5',
  '9007199254740991',
  '99999999999999999999',
  '4000000000',
  'NaN',
  '-Infinity',
  'null',
  'true',
  '""',
  '{}',
  '[]',
  '[[]]',
  '"\\u0000\\u001b[2J"',
  `"${'x'.repeat(5000)}"`,
  '__proto__',
  'constructor',
  '*a',
  '&a',
  '<<',
  '!!binary',
  '~',
  '[0,'.repeat(3),
  '['.repeat(2000),
  '{"a":'.repeat(2000),
  '1,'.repeat(3000),
  '{1..99999999}',
  '$((1 << 62))',
  '${a:=${a}$a}',
  '$(',
  '<<EOF',
  'while :; do a+=$a; done;',
  'f() { f; f; }; f;',
] as const;

/** A word, a number or a text in quotes. */
const token = /-?\d+(?:\.\d+)?(?:e[+-]?\d+)?|"[^"\n]*"|[A-Za-z_]\w*/gu;

const pick = <T>(random: Random, list: readonly T[]): T => list[random.integer(list.length)];

function inText(text: string, random: Random): string {
  const tokens = [...text.matchAll(token)];
  const lines = text.split('\n');
  const at = random.integer(lines.length);
  const put = (index: number, length: number, by: string): string =>
    text.slice(0, index) + by + text.slice(index + length);
  const found = tokens.length === 0 ? undefined : tokens[random.integer(tokens.length)];
  switch (random.integer(8)) {
    case 0:
    case 1:
    case 2:
      return found === undefined ? text : put(found.index, found[0].length, pick(random, strange));
    case 3:
      return found === undefined ? text : put(found.index, found[0].length, pick(random, tokens)[0]);
    case 4:
      return lines.toSpliced(at, 1).join('\n');
    case 5:
      return lines
        .toSpliced(
          at,
          0,
          Array(1 + random.integer(50))
            .fill(lines[at])
            .join('\n'),
        )
        .join('\n');
    case 6:
      return put(random.integer(text.length + 1), 0, pick(random, strange));
    default:
      return lines.toSpliced(at, 0, pick(random, lines)).join('\n');
  }
}

/** One to three changes. */
export function mutate(bytes: Buffer, random: Random): Buffer {
  let changed = Buffer.from(bytes);
  for (let left = 1 + random.integer(3); left > 0; left--) {
    const at = random.integer(Math.max(1, changed.length));
    switch (random.integer(6)) {
      case 0:
        changed = changed.subarray(0, at);
        break;
      case 1:
        if (changed.length > 0) changed[at] ^= 1 << random.integer(8);
        break;
      case 2:
        changed = Buffer.concat([changed.subarray(0, at), changed.subarray(at + 1 + random.integer(16))]);
        break;
      default:
        changed = Buffer.from(inText(changed.toString('latin1'), random), 'latin1');
    }
  }
  return changed;
}
