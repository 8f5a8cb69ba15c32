/** `nvidia-smi topo -m`: a matrix of GPUs and NICs, with a legend of the NICs' names under it. */
import { InputError } from '../../units/errors.js';
import { linksBetween, proximities, type Proximity, type Topology } from './topology.js';

/** Colours and underlines of a terminal, also where copying has lost their first character. */
const escapes = new RegExp(`${String.fromCodePoint(27)}?\\[[0-9;]*m`, 'gu');
/** Drivers before NIC0 name the NICs themselves. */
const column = /^(?:GPU\d+|NIC\d+|mlx\d+_\w+|rdmap\w+|rocep\w+|ibp\w+|bnxt_\w+|irdma\w+)$/u;
const cell = /^(?:X|SYS|NODE|PHB|PXB|PIX|PXN|NV\d+|OK|NS|CNS|TNS|DR|N\/A|-)$/u;

const wordsOf = (line: string): string[] =>
  line
    .replace(escapes, '')
    .trim()
    .split(/\s+/u)
    .filter((word) => word !== '');

interface Row {
  readonly name: string;
  readonly cells: readonly string[];
}

const isProximity = (text: string): text is Proximity => proximities.some((one) => one === text);

/** Whether a text holds such a matrix. */
export const looksTopologyMatrix = (text: string): boolean => headerOf(text.split('\n')) !== undefined;

interface Header {
  /** Index of its line. */
  readonly at: number;
  readonly names: readonly string[];
}

/** The line that names the columns: GPU0 first, and a row GPU0 under it. */
function headerOf(lines: readonly string[]): Header | undefined {
  for (const [at, line] of lines.entries()) {
    const words = wordsOf(line);
    if (words[0] !== 'GPU0' || words.some((word) => cell.test(word) && word !== '-')) continue;
    const end = words.findIndex((word) => !column.test(word));
    const names = end < 0 ? words : words.slice(0, end);
    if (names.every((name) => column.test(name))) return { at, names };
  }
  return undefined;
}

/** What stands in the lines of a matrix. */
interface Lines {
  readonly rows: readonly Row[];
  /** Names of devices by those of the columns. */
  readonly legend: ReadonlyMap<string, string>;
  /** Lines that are no rows. */
  readonly beside: readonly string[];
}

/** Sorts the lines around and below a header. Throws `InputError` for a row with other words, or that is cut off. */
function linesOf(lines: readonly string[], { at, names }: Header, where: string): Lines {
  const rows: Row[] = [];
  const legend = new Map<string, string>();
  const beside: string[] = lines.slice(0, at);
  for (const [offset, line] of lines.slice(at + 1).entries()) {
    const words = wordsOf(line);
    const [name = ''] = words;
    if (rows.length < names.length && name === names[rows.length]) {
      const cells = words.slice(1, names.length + 1);
      checkRow({ name, cells }, names, { file: where, line: at + offset + 2 });
      rows.push({ name, cells });
      continue;
    }
    const [, nic, device] = /^\s*(NIC\d+):\s*(\S+)\s*$/u.exec(line.replace(escapes, '')) ?? [];
    if (nic !== undefined && device !== undefined) legend.set(nic, device);
    beside.push(line);
  }
  return { rows, legend, beside };
}

function checkRow({ name, cells }: Row, names: readonly string[], at: { file: string; line: number }): void {
  const bad = cells.findIndex((one) => !cell.test(one));
  if (bad < 0 && cells.length >= names.length) return;
  const wrong = bad >= 0 ? `has "${cells[bad] ?? ''}" for ${names[bad] ?? ''}` : 'is cut off';
  throw new InputError(`row ${name} ${wrong}`, {
    ...at,
    expected: `${names.length} entries like NV18, PIX, NODE or SYS`,
  });
}

/** Reads the matrix, whatever stands around it. Throws `InputError` that says which line is wrong. */
export function readTopologyMatrix(
  text: string,
  where: string,
  modelIn: (text: string) => string | undefined,
): Topology {
  const lines = text.split('\n');
  const header = headerOf(lines);
  if (header === undefined)
    throw new InputError('holds no matrix', {
      file: where,
      expected: 'a line GPU0 GPU1 …, as nvidia-smi topo -m prints',
    });
  const { names } = header;
  const { rows, legend, beside } = linesOf(lines, header, where);
  const isGpu = (name: string): boolean => name.startsWith('GPU');
  const gpuAt = names.flatMap((name, index) => (isGpu(name) ? [index] : []));
  const nicAt = names.flatMap((name, index) => (isGpu(name) ? [] : [index]));
  const gpuRows = gpuAt.map((index) => rows[index]);
  if (gpuRows.some((row) => row === undefined))
    throw new InputError(`${rows.length} rows for ${names.length} columns`, {
      file: where,
      line: header.at + 1,
      expected: 'a row for each column, in their order',
      hint: 'is the end of the output missing?',
    });
  const cells = gpuRows.map((row) => row?.cells ?? []);
  const counts = cells.map((row) => gpuAt.map((index) => Number(/^NV(\d+)$/u.exec(row[index] ?? '')?.[1] ?? 0)));
  const model = modelIn(beside.join('\n'));
  return {
    form: 'nvidia-smi topo -m',
    where,
    hosts: 1,
    gpus: gpuAt.map((index) => ({ name: names[index] ?? '', ...(model === undefined ? {} : { model }) })),
    nics: nicAt.map((index) => ({ name: legend.get(names[index] ?? '') ?? names[index] ?? '' })),
    proximity: cells.map((row) =>
      nicAt.map((index) => {
        const said = row[index] ?? '';
        return isProximity(said) ? said : 'SYS';
      }),
    ),
    nvlinks: linksBetween(counts),
  };
}
