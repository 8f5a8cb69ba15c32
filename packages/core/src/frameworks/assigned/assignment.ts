/** What a configuration, an override or a line of Python sets: one key, one value. */
import { isUnknown } from '../shell/state.js';
import type { Located } from '../shell/place.js';

export interface Assignment {
  /** Path with dots, as `model.tensor_model_parallel_size`. */
  readonly key: string;
  /** Plain data; null: set to nothing; undefined: only the running program knows it. */
  readonly value: unknown;
  /** Where the key stands; its text is the key. */
  readonly at: Located;
}

/** The last name of a key. */
export const lastName = (key: string): string => key.slice(key.lastIndexOf('.') + 1);

/** The name before the last; empty where there is none. */
export const sectionOf = (key: string): string => key.split('.').at(-2) ?? '';

/** Parts of `a, [b, c], d` that stand on the outside. */
function outerParts(text: string): string[] {
  const parts: string[] = [];
  let [depth, from] = [0, 0];
  for (let at = 0; at < text.length; at++) {
    const sign = text[at] ?? '';
    if ('[({'.includes(sign)) depth += 1;
    else if ('])}'.includes(sign)) depth -= 1;
    else if (sign === ',' && depth === 0) {
      parts.push(text.slice(from, at));
      from = at + 1;
    }
  }
  return [...parts, text.slice(from)].map((part) => part.trim()).filter((part) => part !== '');
}

const number = /^[+-]?(?:\d[\d_]*(?:\.\d*)?|\.\d+)(?:e[+-]?\d+)?$/iu;

/** Lists inside lists, at most: deeper text is not known. */
const mostDepth = 8;

/**
 * The value that a text stands for. A bare word is text in overrides, and in Python the name of something that is not
 * known here.
 */
export function valueOfText(given: string, bare: 'text' | 'unknown', depth = 0): unknown {
  const text = given.trim();
  if (isUnknown(text) || text.includes('${') || depth > mostDepth) return undefined;
  if (/^(?:null|none|~)$/iu.test(text)) return null;
  if (/^(?:true|false)$/iu.test(text)) return text.toLowerCase() === 'true';
  if (number.test(text)) return Number(text.replaceAll('_', ''));
  const quoted = /^(["'])([^"'\\]*)\1$/u.exec(text);
  if (quoted !== null) return quoted[2];
  const list = /^[[(]([\s\S]*)[\])]$/u.exec(text);
  if (list !== null) {
    const values = outerParts(list[1] ?? '').map((part) => valueOfText(part, bare, depth + 1));
    return values.includes(undefined) ? undefined : values;
  }
  return bare === 'text' ? text : undefined;
}
