/** Writes down what the simulator saw happen, as spans. */
import type { CompiledOperation } from '../schedule/compile.js';
import type { Body, Operation } from '../schedule/schedule.js';
import { spanLabel, type Span, type SpanCollective, type SpanLabel, type Trace } from '../trace/index.js';
import type { Run } from './engine.js';
import type { Channel } from './groups.js';

export interface SimulatedRun {
  readonly run: Run;
  /** By rank, the program that it ran. */
  readonly programOf: readonly number[];
  /** By rank and operation, the communicator of a collective. */
  readonly channels: readonly (readonly (Channel | undefined)[])[];
  /** By program, the numbers under which its nodes are known. */
  readonly nodeNumbers: readonly (readonly number[])[];
  /** What the prices rest on. */
  readonly source: string;
}

/** The trace of a simulated step: one span for every operation of every rank. */
export function simulatedTrace({ run, programOf, channels, nodeNumbers, source }: SimulatedRun): Trace {
  const spans: Span[] = [];
  const noteOf = collectiveNotes();
  const labelOf = labels();
  run.happenings.forEach((list, rank) => {
    const numbers = nodeNumbers[programOf[rank] ?? 0];
    for (const happening of list) {
      if (!happening) continue;
      const { flat, issued, ready, end, bytes } = happening;
      const { operation, template, task, chunk, of, lane } = labelOf(flat);
      const node = numbers?.[flat.node] ?? flat.node;
      const collective = noteOf(channels[rank]?.[flat.index], flat.operation.body);
      spans.push({
        step: 0,
        rank,
        node,
        operation,
        template,
        task,
        chunk,
        of,
        lane,
        collective,
        issued,
        ready,
        end,
        bytes,
      });
    }
  });
  return { kind: 'simulated', source, ranks: programOf.length, timeScale: 1, spans };
}

/** What spans are called: one object for all spans of an operation of a template. */
function labels(): (flat: CompiledOperation) => SpanLabel {
  const known = new Map<Operation, SpanLabel>();
  return ({ template, operation }) => {
    let label = known.get(operation);
    if (label === undefined) known.set(operation, (label = spanLabel(template, operation)));
    return label;
  };
}

/** What spans tell of collectives: one object for all spans of a communicator, undefined for kernels. */
function collectiveNotes(): (channel: Channel | undefined, body: Body) => SpanCollective | undefined {
  const notes = new Map<Channel, SpanCollective[]>();
  return (channel, body) => {
    if (channel === undefined || body.kind !== 'collective') return undefined;
    const { name, group } = body;
    const known = notes.get(channel) ?? [];
    const found = known.find((note) => note.name === name);
    if (found !== undefined) return found;
    const note = { name, group, members: channel.members };
    notes.set(channel, [...known, note]);
    return note;
  };
}
