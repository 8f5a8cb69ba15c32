/** Text of others, as messages show it: no control characters, and no value longer than a person reads. */

/** Of a quoted value. */
const mostQuoted = 80;
/** Of a list. */
const mostShown = 16;
/** Of a whole message. */
const mostText = 1000;

const escapes: Readonly<Record<string, string>> = { '\n': '\\n', '\r': '\\r', '\t': '\\t', '\u001b': '\\e' };

/** Control, formatting and line-separating characters: what would move the cursor, hide text or forge a line. */
const hidden = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/gu;

const escaped = (character: string): string => {
  const code = character.codePointAt(0) ?? 0;
  return escapes[character] ?? (code < 256 ? `\\x${hex(code, 2)}` : `\\u{${hex(code, 4)}}`);
};
const hex = (code: number, digits: number): string => code.toString(16).padStart(digits, '0');

/**
 * Shows control characters as escapes: a terminal must not obey what a file says. `but`: characters left as they are.
 */
export const escapeControls = (text: string, but = ''): string =>
  text.replace(hidden, (character) => (but.includes(character) ? character : escaped(character)));

/** The beginning of a text, and how long it is. */
export const shortened = (text: string, most: number): string =>
  text.length <= most ? text : `${text.slice(0, most)}… (${text.length.toLocaleString('en-US')} characters)`;

/**
 * A part of a message: control characters escaped, quoted values and the whole shortened. Line breaks outside of quotes
 * stay.
 */
export const presentable = (text: string): string =>
  shortened(
    escapeControls(
      text.replace(/"([^"]*)"/gu, (_, value: string) => `"${shortened(escapeControls(value), mostQuoted)}"`),
      '\n',
    ),
    mostText,
  );

/**
 * A value of a file in a message: JSON for what is short by nature, a word for the rest, which may be of any size and
 * depth.
 */
export function shownValue(value: unknown): string {
  if (value === undefined) return 'missing';
  if (typeof value !== 'object' || value === null) return shortened(JSON.stringify(value) ?? typeof value, mostQuoted);
  if (!Array.isArray(value)) return 'an object';
  const simple = value.length <= mostShown && value.every((item) => typeof item !== 'object' || item === null);
  return simple ? `[${value.map(shownValue).join(', ')}]` : `a list of ${value.length}`;
}
