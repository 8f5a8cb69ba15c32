/** Lanes of a trace on a canvas: pale while peers are waited for, full while something runs. */
import { formatBytes, formatSeconds } from '@monta/core';
import { useEffect, useLayoutEffect, useRef, useState } from 'preact/hooks';
import type { OpenedTrace } from './opened-trace.js';
import { axisHeight, drawTimeline, mostRows, rowGap, rowHeight } from './draw-timeline.js';
import { nextWith, panned, spanAt, type Window, zoomed } from './view.js';

const howToRead = 'Point at a bar. Pale: waiting for peers. Underlined: on the critical path of what is simulated.';
const help = 'arrows move, + and - zoom, 0 shows all';

const spanText = (trace: OpenedTrace, span: number): string => {
  const [issued, ready, end] = [trace.issued[span] ?? 0, trace.ready[span] ?? 0, trace.end[span] ?? 0];
  const bytes = trace.bytes[span] ?? 0;
  return [
    trace.tasks[trace.task[span] ?? 0],
    trace.rows[trace.row[span] ?? 0],
    `from ${formatSeconds(issued)}`,
    ...(ready > issued ? [`waits ${formatSeconds(ready - issued)}`] : []),
    `runs ${formatSeconds(end - ready)}`,
    ...(bytes > 0 ? [formatBytes(bytes)] : []),
  ].join(' · ');
};

interface Shown {
  readonly trace: OpenedTrace;
  readonly window: Window;
  /** The span that is pointed at. */
  readonly found: number | undefined;
}

/** Draws what is shown on a canvas: once a frame when it changes, and when the canvas gets another size. */
function useDrawing(canvas: { readonly current: HTMLCanvasElement | null }, now: Shown): void {
  /** For a drawing that something else than a change asks for. */
  const shown = useRef(now);
  shown.current = now;
  useLayoutEffect(() => {
    const draw = (): void => {
      if (canvas.current !== null) drawTimeline({ canvas: canvas.current, ...shown.current });
    };
    const frame = requestAnimationFrame(draw);
    return () => cancelAnimationFrame(frame);
  }, [now.trace, now.window, now.found]);
  useEffect(() => {
    const element = canvas.current;
    if (element === null) return undefined;
    const observer = new ResizeObserver(() => drawTimeline({ canvas: element, ...shown.current }));
    observer.observe(element);
    return () => observer.disconnect();
  }, []);
}

/** Names of the lanes, beside the canvas. */
const Lanes = ({ names }: { readonly names: readonly string[] }) => (
  <ol class="rows" aria-hidden="true">
    {names.map((name) => (
      <li key={name} title={name}>
        {name}
      </li>
    ))}
  </ol>
);

/** Which colour is which operation. */
const Legend = ({ tasks }: { readonly tasks: readonly string[] }) => (
  <ul class="legend">
    {tasks.slice(0, 24).map((name, index) => (
      <li key={name}>
        <span class={`swatch b-s${index % 8}`} /> {name}
      </li>
    ))}
  </ul>
);

/** A search for operations by their names. */
function FindBox({ onFind }: { readonly onFind: (wanted: string) => void }) {
  const [wanted, setWanted] = useState('');
  return (
    <input
      type="search"
      aria-label="Find an operation"
      placeholder="find: all_to_all"
      value={wanted}
      onInput={({ currentTarget }) => setWanted(currentTarget.value)}
      onKeyDown={({ key }) => key === 'Enter' && onFind(wanted)}
    />
  );
}

/** A window in which a span is seen well. */
function around(trace: OpenedTrace, span: number): Window {
  const begin = trace.issued[span] ?? 0;
  const width = Math.max(((trace.end[span] ?? 0) - begin) * 8, trace.seconds * 1e-5);
  return panned({ from: 0, to: Math.min(width, trace.seconds) }, begin - width / 2, trace.seconds);
}

interface TimelineProps {
  readonly trace: OpenedTrace;
  /** Another text: another picture, which is shown whole at first. */
  readonly fitTo: string;
  /** Lays the simulated lanes so that they begin at a moment. */
  readonly onBegin?: (moment: number) => void;
}

/** The windows that keys ask for. */
function windowsByKey(trace: OpenedTrace, window: Window): Readonly<Record<string, () => Window>> {
  const middle = (window.from + window.to) / 2;
  const step = (window.to - window.from) / 4;
  return {
    ArrowLeft: () => panned(window, -step, trace.seconds),
    ArrowRight: () => panned(window, step, trace.seconds),
    '+': () => zoomed(window, 0.5, middle, trace.seconds),
    '-': () => zoomed(window, 2, middle, trace.seconds),
    '0': () => ({ from: 0, to: trace.seconds }),
  };
}

const rowsDrawn = (trace: OpenedTrace): number => Math.min(trace.rows.length, mostRows);

interface PictureProps {
  readonly trace: OpenedTrace;
  readonly window: Window;
  readonly pointed: number | undefined;
  readonly onWindow: (window: Window) => void;
  readonly onPointed: (span: number | undefined) => void;
}

/** The lanes; the wheel zooms, dragging and keys move. */
function Picture({ trace, window, pointed, onWindow, onPointed }: PictureProps) {
  const canvas = useRef<HTMLCanvasElement>(null);
  const dragged = useRef<number | undefined>(undefined);
  useDrawing(canvas, { trace, window, found: pointed });
  const width = (): number => canvas.current?.clientWidth ?? 1;
  const momentOf = (event: MouseEvent): number => window.from + (event.offsetX / width()) * (window.to - window.from);
  const move = (event: MouseEvent): void => {
    const last = dragged.current;
    if (last !== undefined) {
      dragged.current = event.clientX;
      onWindow(panned(window, ((last - event.clientX) * (window.to - window.from)) / width(), trace.seconds));
      return;
    }
    const row = Math.floor((event.offsetY - axisHeight) / (rowHeight + rowGap));
    onPointed(row < 0 ? undefined : spanAt(trace, row, momentOf(event)));
  };
  const drop = (): void => {
    dragged.current = undefined;
  };
  return (
    <canvas
      ref={canvas}
      style={{ height: `${axisHeight + rowsDrawn(trace) * (rowHeight + rowGap)}px` }}
      tabIndex={0}
      role="img"
      aria-label={`Timeline of ${trace.rows.length} lanes over ${formatSeconds(trace.seconds)}; ${help}`}
      onWheel={(event) => {
        event.preventDefault();
        onWindow(zoomed(window, event.deltaY > 0 ? 1.25 : 0.8, momentOf(event), trace.seconds));
      }}
      onMouseDown={({ clientX }) => {
        dragged.current = clientX;
      }}
      onMouseUp={drop}
      onMouseLeave={drop}
      onMouseMove={move}
      onKeyDown={(event) => {
        const next = windowsByKey(trace, window)[event.key];
        if (next === undefined) return;
        event.preventDefault();
        onWindow(next());
      }}
    />
  );
}

export function TimelineCanvas({ trace, fitTo, onBegin }: TimelineProps) {
  const [window, setWindow] = useState<Window>({ from: 0, to: trace.seconds });
  const [pointed, setPointed] = useState<number | undefined>(undefined);
  useEffect(() => {
    setWindow({ from: 0, to: trace.seconds });
    setPointed(undefined);
  }, [fitTo]);
  const keys = windowsByKey(trace, window);
  const find = (wanted: string): void => {
    const span = wanted === '' ? undefined : nextWith(trace, wanted, pointed ?? -1);
    setPointed(span);
    if (span !== undefined) setWindow(around(trace, span));
  };
  const rows = rowsDrawn(trace);
  return (
    <section class="card" aria-label="Timeline">
      <div class="bar">
        <h2>{trace.title}</h2>
        <FindBox onFind={find} />
        {Object.entries({ '+': 'zoom in', '-': 'zoom out', '0': 'everything' }).map(([key, name]) => (
          <button key={key} type="button" onClick={() => setWindow(keys[key]?.() ?? window)}>
            {name}
          </button>
        ))}
        {onBegin !== undefined && (
          <button type="button" onClick={() => onBegin(window.from)}>
            simulated begins at the left edge
          </button>
        )}
      </div>
      <p class="muted">{trace.note}</p>
      <div class="timeline">
        <Lanes names={trace.rows.slice(0, rows)} />
        <Picture trace={trace} window={window} pointed={pointed} onWindow={setWindow} onPointed={setPointed} />
      </div>
      <p class="said" aria-live="polite">
        {pointed === undefined ? howToRead : spanText(trace, pointed)}
      </p>
      {trace.rows.length > rows && <p class="muted">{trace.rows.length - rows} more lanes are not drawn.</p>}
      <Legend tasks={trace.tasks} />
    </section>
  );
}
