/**
 * From YAML or JSON text to its nodes, within bounds: a small file must not take much time or memory, nor a large one.
 */
import { Composer, isAlias, isMap, isPair, isScalar, isSeq, Lexer, Parser, YAMLParseError } from 'yaml';
import type { Alias, Document, LineCounter, Node } from 'yaml';
import { InputError } from '../errors.js';

/** Words, numbers, punctuation and spaces. The parser takes some 5 µs for each. */
const mostLexemes = 2 ** 20;
const mostDepth = 64;
/** Values, each alias counted as all that it stands for. */
const mostValues = 2 ** 20;

interface Origin {
  readonly fileName: string;
  readonly lines: LineCounter;
}

export interface ParsedDocument {
  readonly document: Document.Parsed;
  /** What each alias stands for. */
  readonly targets: ReadonlyMap<Alias, Node>;
}

/**
 * Runs `action` without stacks of errors: the composer makes an error for each thing that is wrong, hundreds of
 * thousands in a broken list.
 */
function withoutStacks<T>(action: () => T): T {
  // Of V8's engine, which other browsers ignore.
  const errors = Error as { stackTraceLimit?: number };
  const { stackTraceLimit } = errors;
  errors.stackTraceLimit = 0;
  try {
    return action();
  } finally {
    errors.stackTraceLimit = stackTraceLimit;
  }
}

function composed(text: string, origin: Origin): Document.Parsed | undefined {
  const { lines } = origin;
  const parser = new Parser(lines.addNewLine);
  const composer = new Composer({ prettyErrors: false, uniqueKeys: false, version: '1.2', logLevel: 'error' });
  let document: Document.Parsed | undefined;
  for (const next of composer.compose(boundedTokens(parser, text, origin), true, text.length)) {
    if (document !== undefined) {
      document.errors.push(new YAMLParseError([next.range[0], next.range[1]], 'MULTIPLE_DOCS', 'a second document'));
      break;
    }
    document = next;
  }
  return document;
}

/** Parses a document, and finds what its aliases stand for. Throws `InputError` that says where. */
export function parseDocumentText(text: string, fileName: string, lines: LineCounter): ParsedDocument {
  const origin: Origin = { fileName, lines };
  const document = withoutStacks(() => composed(text, origin));
  const [failure] = document?.errors ?? [];
  if (failure !== undefined) throw unreadable(failure, text, origin);
  if (document === undefined || document.contents === null)
    throw new InputError('the file is empty', { file: fileName, expected: 'a YAML or JSON document' });
  const reader = new ContentReader(origin);
  reader.read(document.contents);
  return { document, targets: reader.targets };
}

/** The text of a key, which is a scalar. */
const keyName = (key: unknown): string => (isScalar(key) ? String(key.value) : 'null');

/** A node as plain data, aliases replaced by what they stand for. */
export function plainData(node: unknown, targets: ParsedDocument['targets']): unknown {
  if (isAlias(node)) return plainData(targets.get(node), targets);
  if (isScalar(node)) return node.value;
  if (isSeq(node)) return node.items.map((item) => plainData(item, targets));
  if (!isMap(node)) return null;
  return Object.fromEntries(node.items.map(({ key, value }) => [keyName(key), plainData(value, targets)]));
}

const errorAt = ({ fileName, lines }: Origin, offset: number, message: string, expected: string): InputError => {
  const { line, col } = lines.linePos(offset);
  return new InputError(message, { file: fileName, line: Math.max(1, line), column: Math.max(1, col), expected });
};

function unreadable(failure: YAMLParseError, text: string, origin: Origin): InputError {
  const json = /\.json$/iu.test(origin.fileName);
  const error = errorAt(
    origin,
    Math.min(failure.pos[0], text.length),
    `cannot be read as ${json ? 'JSON' : 'YAML'}: ${failure.message}`,
    json ? 'a JSON document' : 'a YAML or JSON document',
  );
  const ended = text.slice(failure.pos[0]).trim() === '';
  return ended ? error.at({ hint: 'the text ends too early: is the file complete?' }) : error;
}

function* boundedTokens(parser: Parser, text: string, origin: Origin): ReturnType<Parser['parse']> {
  let lexemes = 0;
  origin.lines.addNewLine(0);
  for (const lexeme of new Lexer().lex(text)) {
    yield* parser.next(lexeme);
    lexemes += 1;
    if (lexemes > mostLexemes)
      throw errorAt(origin, parser.offset, 'holds too much to be read', `at most ${mostLexemes} words and signs`);
    if (parser.stack.length > mostDepth)
      throw errorAt(origin, parser.offset, 'is nested too deeply', `at most ${mostDepth} levels`);
  }
  yield* parser.end();
}

/** Counts values as readers see them, and checks that keys are unique and that aliases lead somewhere. */
class ContentReader {
  readonly targets = new Map<Alias, Node>();
  private readonly anchors = new Map<string, Node>();
  private readonly values = new Map<Node, number>();

  constructor(private readonly origin: Origin) {}

  /** Returns the number of values in a node. */
  read(node: unknown): number {
    if (isAlias(node)) return this.follow(node);
    if (isPair(node)) return this.read(node.key) + this.read(node.value);
    if (!isMap(node) && !isSeq(node) && !isScalar(node)) return 1;
    if (node.anchor !== undefined) this.anchors.set(node.anchor, node);
    let values = 1;
    if (!isScalar(node)) {
      if (isMap(node)) this.checkKeys(node.items.map(({ key }) => key as Node | null));
      for (const item of node.items) values += this.read(item);
    }
    if (values > mostValues)
      throw this.error(node, `stands for ${values} values`, `at most ${mostValues}, with all that aliases repeat`);
    this.values.set(node, values);
    return values;
  }

  private follow(alias: Alias): number {
    const target = this.anchors.get(alias.source);
    if (target === undefined)
      throw this.error(alias, `*${alias.source} refers to nothing`, `a value marked &${alias.source} above`);
    const values = this.values.get(target);
    if (values === undefined)
      throw this.error(alias, `*${alias.source} refers to what it is a part of`, 'a value that ends above');
    this.targets.set(alias, target);
    return values;
  }

  private checkKeys(keys: readonly (Node | null)[]): void {
    const seen = new Set<string>();
    for (const key of keys) {
      if (key !== null && !isScalar(key)) throw this.error(key, 'a key is no word', 'words or numbers as keys');
      const name = keyName(key);
      if (seen.has(name))
        throw this.error(key, `cannot be read as YAML: Map keys must be unique, "${name}" is not`, 'each key once');
      seen.add(name);
    }
  }

  private error(node: Node | null, message: string, expected: string): InputError {
    return errorAt(this.origin, node?.range?.[0] ?? 0, message, expected);
  }
}
