/** Reads back the traces that `writePerfetto` wrote, whole or while their text arrives in pieces. */
import { groupKinds } from '../layout/mesh.js';
import { collectiveNames, type CollectiveName } from '../schedule/schedule.js';
import { InputError } from '../units/index.js';
import { JsonPieces } from './json-pieces.js';
import { spanLanes } from './lane-times.js';
import { perfettoFormat, spanCategory, type PerfettoHead } from './perfetto-format.js';
import type { Span, SpanCollective, Trace } from './span.js';

/** What a file says of a trace besides its spans. */
export type TraceHead = Omit<Trace, 'spans'>;

export interface SpanSink {
  /** Told of each span in the order of the file; `trace` counts the traces of the file. */
  span(span: Span, trace: number, line: number): void;
}

/**
 * Reads traces that `writePerfetto` wrote. `fileName` is for messages only. Throws `InputError` for anything else,
 * saying where.
 */
export function readPerfetto(text: string, fileName: string): Trace[] {
  const spans: Span[][] = [];
  const heads = readPerfettoPieces([text], fileName, { span: (span, trace) => (spans[trace] ??= []).push(span) });
  return heads.map((head, trace) => ({ ...head, spans: spans[trace] ?? [] }));
}

/**
 * Reads text in pieces and hands out span after span: nothing is kept here but names and groups, however long the file.
 * Throws `InputError` for anything that `writePerfetto` did not write, saying where; spans before that place were
 * handed out then.
 */
export function readPerfettoPieces(pieces: Iterable<string>, fileName: string, sink: SpanSink): readonly TraceHead[] {
  let reader: SpanReader | undefined;
  const json = new JsonPieces({
    array: 'traceEvents',
    onMember: (text, line) => {
      const metadata = field(parsed(`{${text}}`, fileName, line), 'metadata');
      if (metadata !== undefined) reader = new SpanReader(metadata, fileName);
    },
    onElement: (text, index, line) => {
      if (reader === undefined) throw notOurs(fileName);
      reader.event(parsed(text, fileName, line), index, line, sink);
    },
  });
  try {
    for (const piece of pieces) json.push(piece);
    json.end();
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    throw new InputError(`cannot be read as JSON: it ${error.message}`, {
      file: fileName,
      line: json.line,
      expected: 'a trace that monta wrote',
    });
  }
  if (reader === undefined) throw notOurs(fileName);
  return reader.heads;
}

const notOurs = (file: string): InputError =>
  new InputError('is not a trace of monta, or of another version', {
    file,
    path: 'metadata.format',
    expected: `${perfettoFormat}, before the events`,
    hint: 'traces of older versions say too little of their collectives: run again to get one',
  });

function parsed(text: string, file: string, line: number): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new InputError(`cannot be read as JSON: ${error instanceof Error ? error.message : String(error)}`, {
      file,
      line,
      expected: 'a trace that monta wrote',
    });
  }
}

/** Turns events into spans. Names and groups are kept once each, so that spans that are kept take little room. */
class SpanReader {
  readonly heads: readonly TraceHead[];
  readonly #file: string;
  readonly #owners: readonly { readonly head: PerfettoHead; readonly notes: Map<string, SpanCollective> }[];
  readonly #names = new Map<string, string>();

  constructor(metadata: unknown, file: string) {
    this.#file = file;
    const traces = field(metadata, 'traces');
    if (field(metadata, 'format') !== perfettoFormat || !Array.isArray(traces)) throw notOurs(file);
    const heads = traces.map((head: unknown, index) => headOf(head, file, `metadata.traces[${index}]`));
    this.#owners = heads.map((head) => ({ head, notes: new Map<string, SpanCollective>() }));
    this.heads = heads.map(({ kind, source, ranks, timeScale }) => ({ kind, source, ranks, timeScale }));
  }

  event(event: unknown, index: number, line: number, sink: SpanSink): void {
    if (field(event, 'ph') !== 'X') return;
    const at = { file: this.#file, line, path: `traceEvents[${index}]` };
    const pid = numberAt(event, 'pid', at);
    const trace = this.#owners.findLastIndex(({ head }) => head.firstProcess <= pid);
    const owner = this.#owners[trace];
    if (owner === undefined || !Number.isSafeInteger(pid))
      throw new InputError('belongs to no trace', { ...at, expected: 'the pid of a rank' });
    if (field(event, 'cat') !== spanCategory[owner.head.kind]) return;
    const args = field(event, 'args');
    const inside = { ...at, path: `${at.path}.args` };
    const number = (name: string): number => numberAt(args, name, inside);
    sink.span(
      {
        step: number('step'),
        rank: pid - owner.head.firstProcess,
        node: number('node'),
        operation: this.#name(event, 'name', at),
        template: this.#name(args, 'template', inside),
        task: this.#name(args, 'task', inside),
        chunk: number('chunk'),
        of: number('of'),
        lane: oneOf(spanLanes, field(args, 'lane'), { ...inside, path: `${inside.path}.lane` }),
        ...this.#collective(owner, args, inside),
        issued: number('issued'),
        ready: number('ready'),
        end: number('end'),
        bytes: number('bytes'),
      },
      trace,
      line,
    );
  }

  #collective(
    { head, notes }: { readonly head: PerfettoHead; readonly notes: Map<string, SpanCollective> },
    args: unknown,
    at: Where,
  ): { collective?: SpanCollective } {
    const given = field(args, 'collective');
    if (given === undefined) return {};
    const place = numberAt(args, 'group', at);
    const name: CollectiveName = oneOf(collectiveNames, given, { ...at, path: `${at.path}.collective` });
    const key = `${name} ${place}`;
    const known = notes.get(key);
    if (known !== undefined) return { collective: known };
    const group = head.groups[place];
    if (group === undefined)
      throw new InputError(`there is no group ${place}`, { ...at, expected: `0 to ${head.groups.length - 1}` });
    const collective = { name, ...group };
    notes.set(key, collective);
    return { collective };
  }

  #name(value: unknown, name: string, at: Where): string {
    const found = field(value, name);
    if (typeof found !== 'string')
      throw new InputError(`${JSON.stringify(found)} is not a name`, {
        ...at,
        path: `${at.path}.${name}`,
        expected: 'text',
      });
    const known = this.#names.get(found);
    if (known === undefined) this.#names.set(found, found);
    return known ?? found;
  }
}

function headOf(value: unknown, file: string, path: string): PerfettoHead {
  const at = { file, path };
  const groups = field(value, 'groups');
  return {
    kind: oneOf(['simulated', 'measured'] as const, field(value, 'kind'), { file, path: `${path}.kind` }),
    source: String(field(value, 'source')),
    ranks: numberAt(value, 'ranks', at),
    timeScale: numberAt(value, 'timeScale', at),
    firstProcess: numberAt(value, 'firstProcess', at),
    groups: (Array.isArray(groups) ? groups : []).map((group: unknown, index) => {
      const inside = `${path}.groups[${index}]`;
      const members = field(group, 'members');
      if (!Array.isArray(members) || !members.every((member): member is number => Number.isSafeInteger(member)))
        throw new InputError('has no members', { file, path: `${inside}.members`, expected: 'a list of ranks' });
      return { group: oneOf(groupKinds, field(group, 'group'), { file, path: `${inside}.group` }), members };
    }),
  };
}

interface Where {
  readonly file: string;
  readonly line?: number;
  readonly path: string;
}

const field = (value: unknown, name: string): unknown =>
  typeof value === 'object' && value !== null ? (value as Readonly<Record<string, unknown>>)[name] : undefined;

function oneOf<T extends string>(known: readonly T[], value: unknown, at: Where): T {
  const found = known.find((one) => one === value);
  if (found !== undefined) return found;
  const name = at.path.slice(at.path.lastIndexOf('.') + 1);
  throw new InputError(`${name} is ${JSON.stringify(value)}`, { ...at, expected: known.join(', ') });
}

function numberAt(value: unknown, name: string, at: Where): number {
  const found = field(value, name);
  if (typeof found === 'number' && Number.isFinite(found)) return found;
  throw new InputError(`${JSON.stringify(found)} is not a number`, {
    ...at,
    path: `${at.path}.${name}`,
    expected: 'a finite number',
  });
}
