/** Writes down what the simulator saw happen, as spans. */
import type { OrderedOperation } from '../schedule/compile.js';
import type { Body, Operation } from '../schedule/schedule.js';
import { spanLabel, type SpanLabel } from '../schedule/span-label.js';
import type { Span, SpanCollective, Trace } from '../trace/index.js';
import type { Run } from './engine.js';
import type { World } from '../traffic/index.js';
import type { Channel, GroupRanks } from './groups.js';

export interface SimulatedRun {
  readonly run: Run;
  /** Ranks that stand for all; what follows is by place among them. */
  readonly world: World;
  /** The program that each ran. */
  readonly programOf: readonly number[];
  /** By operation, the communicator of a collective. */
  readonly channels: readonly (readonly (Channel | undefined)[])[];
  /** By program, the numbers under which its nodes are known. */
  readonly nodeNumbers: readonly (readonly number[])[];
  readonly groups: GroupRanks;
  /** What the prices rest on. */
  readonly source: string;
}

/** The trace of a simulated step: one span for every operation of every rank that stands for others. */
export function simulatedTrace({ run, world, programOf, channels, nodeNumbers, source }: SimulatedRun): Trace {
  const spans: Span[] = [];
  const noteOf = collectiveNotes();
  const labelOf = labels();
  run.happenings.forEach((list, place) => {
    const rank = world.ranks[place] ?? place;
    const numbers = nodeNumbers[programOf[place] ?? 0];
    for (const happening of list) {
      if (!happening) continue;
      const { flat, issued, ready, end, bytes } = happening;
      const { operation, template, task, chunk, of, lane } = labelOf(flat);
      const node = numbers?.[flat.node] ?? flat.node;
      const collective = noteOf(channels[place]?.[flat.index], flat.operation.body);
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
  return { kind: 'simulated', source, ranks: world.size, timeScale: 1, spans };
}

/** The trace of all ranks from that of those which stand for them. */
export function spreadTrace(trace: Trace, { world, groups }: Pick<SimulatedRun, 'world' | 'groups'>): Trace {
  const own = new Map<number, Span[]>();
  for (const span of trace.spans) {
    const list = own.get(span.rank);
    if (list) list.push(span);
    else own.set(span.rank, [span]);
  }
  const spans = Array.from(world.placeOf, (place, rank) => {
    const stand = world.ranks[place] ?? 0;
    const notes = new Map<SpanCollective, SpanCollective>();
    const noteOf = (note: SpanCollective): SpanCollective => {
      let moved = notes.get(note);
      if (moved === undefined) notes.set(note, (moved = { ...note, members: membersOf(note, stand, rank, groups) }));
      return moved;
    };
    return (own.get(stand) ?? []).map((span): Span =>
      span.collective ? { ...span, rank, collective: noteOf(span.collective) } : { ...span, rank },
    );
  });
  return { ...trace, spans: spans.flat() };
}

/** Who meets `rank` where these meet the rank that stands for it. */
function membersOf({ group, members, name }: SpanCollective, stand: number, rank: number, groups: GroupRanks) {
  const [own, there] = [groups.of(group, stand), groups.of(group, rank)];
  if (name !== 'send' && name !== 'receive') return there;
  return members.map((member) => there[own.indexOf(member)] ?? member);
}

/** What spans are called: one object for all spans of an operation of a template. */
function labels(): (flat: OrderedOperation) => SpanLabel {
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
    const note = { name, group, members: channel.ranks };
    notes.set(channel, [...known, note]);
    return note;
  };
}
