/** XML as a tree of elements that know their line. Text between them, comments and document types are passed over. */
import { SaxesParser } from 'saxes';
import { InputError } from '../../units/errors.js';

export interface XmlElement {
  readonly name: string;
  readonly attributes: Readonly<Record<string, string>>;
  readonly children: XmlElement[];
  readonly parent: XmlElement | undefined;
  /** 1-based. */
  readonly line: number;
}

/** Deeper than any machine: caches, bridges and switches together are some twenty levels. */
const deepest = 200;
/** A rack of 72 GPUs with all its caches has some ten thousand. */
const mostElements = 1_000_000;

/** Reads a document and returns its outermost element. Throws `InputError` for what is not well-formed XML. */
export function readXml(text: string, file: string): XmlElement {
  const parser = new SaxesParser({ fileName: file, xmlns: false });
  let root: XmlElement | undefined;
  let open: XmlElement | undefined;
  let [depth, count] = [0, 0];
  const wrong = (message: string, expected: string): InputError =>
    new InputError(message, { file, line: parser.line, expected });
  parser.on('error', (error) => {
    throw wrong(
      `is not well-formed XML: ${error.message.replace(/^.*?\d+:\d+: /u, '')}`,
      'a whole file, as it was written',
    );
  });
  parser.on('opentag', ({ name, attributes }) => {
    if (++depth > deepest) throw wrong(`elements stand ${depth} deep in each other`, `at most ${deepest}`);
    if (++count > mostElements) throw wrong(`more than ${mostElements} elements`, 'the topology of one machine');
    const element: XmlElement = { name, attributes, children: [], parent: open, line: parser.line };
    open?.children.push(element);
    root ??= element;
    open = element;
  });
  parser.on('closetag', () => {
    depth--;
    open = open?.parent;
  });
  parser.write(text).close();
  if (root === undefined) throw new InputError('holds no element', { file, expected: 'an XML document' });
  return root;
}

/** All elements of a tree in the order of the file, the outermost first. */
export function* elementsOf(root: XmlElement): Generator<XmlElement> {
  yield root;
  for (const child of root.children) yield* elementsOf(child);
}
