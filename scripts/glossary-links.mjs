/**
 * Links words of the glossary at their first use on every page but those that are held to a command, letter by letter:
 * `npm run docs:glossary`; with `--check` it only says which pages lack links. Headings, tables, code and links are
 * left as they are.
 */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';

const docs = fileURLToPath(new URL('../docs/', import.meta.url));

/** Words with a meaning of their own here, by their anchor. */
const words = {
  lane: /\blanes?\b/u,
  half: /\bhalves\b|\b(?:dispatch|combine) half\b/u,
  etp: /\betp\b/u,
  edp: /\bedp\b/u,
  flip: /\bflips?\b/u,
  replica: /\breplicas?\b/u,
  tier: /\btiers?\b/u,
  rail: /\brails?\b/u,
  'capacity-factor': /\bcapacity factor\b/u,
  'emulated-network': /\bemulated network\b/u,
  'micro-batch': /\bmicro-batch(?:es)?\b/u,
  'best-fixed': /\bbest fixed\b/u,
  mfu: /\bMFU\b/u,
  'held-out': /\bheld-out\b/u,
};

/** Pages that tests or CI hold, letter by letter, against what a command writes. */
const held = ['gpu.md', 'json.md', 'keys.md', 'library.md', 'memory.md'];

/** Commands that write the others run this one behind. */
const linkedPages = () =>
  readdirSync(docs)
    .filter((name) => name.endsWith('.md') && name !== 'glossary.md' && !held.includes(name))
    .map((name) => ({ name, text: readFileSync(join(docs, name), 'utf8') }));

/** Parts of a line that stay as they are: code and links. */
const kept = /`[^`]*`|!?\[[^\]]*\]\([^)]*\)|<[^>]*>/gu;

/** The line with the first use of a word as a link; undefined where it has none. */
function linked(line, anchor, pattern) {
  const masked = line.replaceAll(kept, (part) => '\0'.repeat(part.length));
  const found = pattern.exec(masked);
  if (found === null) return undefined;
  const end = found.index + found[0].length;
  return `${line.slice(0, found.index)}[${found[0]}](glossary.md#${anchor})${line.slice(end)}`;
}

/** The page with its first uses linked. */
function withLinks(text) {
  const lines = text.split('\n');
  let fenced = false;
  const isProse = lines.map((line) => {
    if (line.startsWith('```')) fenced = !fenced;
    return !fenced && !/^(?:```|#|\||\s*$)/u.test(line);
  });
  for (const [anchor, pattern] of Object.entries(words)) {
    if (text.includes(`glossary.md#${anchor})`)) continue;
    for (const [index, line] of lines.entries()) {
      const changed = isProse[index] ? linked(line, anchor, pattern) : undefined;
      if (changed === undefined) continue;
      lines[index] = changed;
      break;
    }
  }
  return lines.join('\n');
}

for (const { name, text } of linkedPages()) {
  const changed = withLinks(text);
  if (changed === text) continue;
  if (!process.argv.includes('--check')) writeFileSync(join(docs, name), changed);
  else {
    process.stderr.write(`docs/${name}: npm run docs:glossary links words of the glossary at their first use\n`);
    process.exitCode = 1;
  }
}
