/** Two traces on one axis: lanes that both have stand under one another. */
import type { OpenedTrace } from './opened-trace.js';

/** A lane of one of the traces. */
interface Lane {
  readonly name: string;
  readonly rank: number | undefined;
  readonly of: OpenedTrace;
  readonly row: number;
  /** Seconds that its spans are moved by. */
  readonly shift: number;
}

/**
 * The lanes of a simulated trace that have something to be compared with: those of ranks that the other one has, or of
 * the first rank where the other one names devices and streams.
 */
function comparable(simulated: OpenedTrace, measured: OpenedTrace): readonly number[] {
  const theirs = new Set(measured.ranks.filter((rank) => rank !== undefined));
  const wanted: ReadonlySet<number | undefined> = theirs.size > 0 ? theirs : new Set([simulated.ranks[0]]);
  return [...simulated.rows.keys()].filter((row) => wanted.has(simulated.ranks[row]));
}

/** The simulated trace laid over a measured one, beginning `at` seconds after its start. */
export function overlaid(measured: OpenedTrace, simulated: OpenedTrace, at: number): OpenedTrace {
  const under = (name: string): string => `${name} · simulated`;
  const own = comparable(simulated, measured).map((row): Lane => ({
    name: under(simulated.rows[row] ?? ''),
    rank: simulated.ranks[row],
    of: simulated,
    row,
    shift: at,
  }));
  const lanes = measured.rows.flatMap((name, row): Lane[] => [
    ...own.filter((lane) => lane.name === under(name)),
    {
      name: own.some((lane) => lane.name === under(name)) ? `${name} · measured` : name,
      rank: measured.ranks[row],
      of: measured,
      row,
      shift: 0,
    },
  ]);
  return joined(measured, [...own.filter((lane) => !lanes.includes(lane)), ...lanes], simulated);
}

/** The columns of some lanes, one lane after another. */
function joined(measured: OpenedTrace, lanes: readonly Lane[], simulated: OpenedTrace): OpenedTrace {
  const tasks = [...new Set([...measured.tasks, ...simulated.tasks])];
  const numberOf = new Map(tasks.map((name, number) => [name, number]));
  const lengths = lanes.map(({ of, row }) => (of.starts[row + 1] ?? 0) - (of.starts[row] ?? 0));
  const starts = new Uint32Array(lanes.length + 1);
  for (const [lane, length] of lengths.entries()) starts[lane + 1] = (starts[lane] ?? 0) + length;
  const count = starts[lanes.length] ?? 0;
  const floats = (): Float64Array<ArrayBuffer> => new Float64Array(count);
  const [issued, ready, end, bytes] = [floats(), floats(), floats(), floats()];
  const [row, task, critical] = [new Uint16Array(count), new Uint16Array(count), new Uint8Array(count)];
  for (const [lane, { of, row: from, shift }] of lanes.entries()) {
    const first = of.starts[from] ?? 0;
    const to = starts[lane] ?? 0;
    for (let span = 0; span < (lengths[lane] ?? 0); span++) {
      row[to + span] = lane;
      task[to + span] = numberOf.get(of.tasks[of.task[first + span] ?? 0] ?? '') ?? 0;
      issued[to + span] = (of.issued[first + span] ?? 0) + shift;
      ready[to + span] = (of.ready[first + span] ?? 0) + shift;
      end[to + span] = (of.end[first + span] ?? 0) + shift;
      bytes[to + span] = of.bytes[first + span] ?? 0;
      critical[to + span] = of.critical[first + span] ?? 0;
    }
  }
  const last = lanes.reduce((most, { of, shift }) => Math.max(most, of.seconds + shift), 0);
  return {
    title: `${measured.title}, and ${simulated.title} simulated`,
    note: [measured.note, simulated.note].join('; '),
    rows: lanes.map(({ name }) => name),
    ranks: lanes.map(({ rank }) => rank),
    overlaid: true,
    tasks,
    row,
    task,
    issued,
    ready,
    end,
    bytes,
    critical,
    starts,
    seconds: last,
  };
}
