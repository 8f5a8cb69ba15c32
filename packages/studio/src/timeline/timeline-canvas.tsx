/** Lanes of a trace on a canvas: pale while peers are waited for, full while something runs. */
import { formatBytes, formatSeconds } from '@monta/core';
import { useEffect, useLayoutEffect, useRef, useState } from 'preact/hooks';
import type { OpenedTrace } from './opened-trace.js';
import { axisHeight, drawTimeline, mostRows, rowGap, rowHeight } from './draw-timeline.js';
import { nextWith, panned, spanAt, type Window, zoomed } from './view.js';

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

interface TimelineProps {
  readonly trace: OpenedTrace;
  /** Another text: another picture, which is shown whole at first. */
  readonly fitTo: string;
  /** Lays the simulated lanes so that they begin at a moment. */
  readonly onBegin?: (moment: number) => void;
}

export function TimelineCanvas({ trace, fitTo, onBegin }: TimelineProps) {
  const canvas = useRef<HTMLCanvasElement>(null);
  const [window, setWindow] = useState<Window>({ from: 0, to: trace.seconds });
  const [pointed, setPointed] = useState<number | undefined>(undefined);
  const [wanted, setWanted] = useState('');
  const dragged = useRef<number | undefined>(undefined);
  useEffect(() => {
    setWindow({ from: 0, to: trace.seconds });
    setPointed(undefined);
  }, [fitTo]);
  /** What is shown, for a drawing that something else than a change of it asks for. */
  const shown = useRef({ trace, window, found: pointed });
  shown.current = { trace, window, found: pointed };
  useLayoutEffect(() => {
    const draw = (): void => {
      if (canvas.current !== null) drawTimeline({ canvas: canvas.current, ...shown.current });
    };
    const frame = requestAnimationFrame(draw);
    return () => cancelAnimationFrame(frame);
  }, [trace, window, pointed]);
  useEffect(() => {
    const element = canvas.current;
    if (element === null) return undefined;
    const observer = new ResizeObserver(() => drawTimeline({ canvas: element, ...shown.current }));
    observer.observe(element);
    return () => observer.disconnect();
  }, []);
  const momentOf = (event: MouseEvent): number => {
    const width = canvas.current?.clientWidth ?? 1;
    return window.from + (event.offsetX / width) * (window.to - window.from);
  };
  const move = (event: MouseEvent): void => {
    const width = canvas.current?.clientWidth ?? 1;
    const last = dragged.current;
    if (last !== undefined) {
      dragged.current = event.clientX;
      setWindow(panned(window, ((last - event.clientX) * (window.to - window.from)) / width, trace.seconds));
      return;
    }
    const row = Math.floor((event.offsetY - axisHeight) / (rowHeight + rowGap));
    setPointed(row < 0 ? undefined : spanAt(trace, row, momentOf(event)));
  };
  const middle = (window.from + window.to) / 2;
  const step = (window.to - window.from) / 4;
  const keys: Readonly<Record<string, () => Window>> = {
    ArrowLeft: () => panned(window, -step, trace.seconds),
    ArrowRight: () => panned(window, step, trace.seconds),
    '+': () => zoomed(window, 0.5, middle, trace.seconds),
    '-': () => zoomed(window, 2, middle, trace.seconds),
    '0': () => ({ from: 0, to: trace.seconds }),
  };
  const find = (): void => {
    const span = wanted === '' ? undefined : nextWith(trace, wanted, pointed ?? -1);
    setPointed(span);
    if (span === undefined) return;
    const width = Math.max(((trace.end[span] ?? 0) - (trace.issued[span] ?? 0)) * 8, trace.seconds * 1e-5);
    setWindow(
      panned({ from: 0, to: Math.min(width, trace.seconds) }, (trace.issued[span] ?? 0) - width / 2, trace.seconds),
    );
  };
  const rows = Math.min(trace.rows.length, mostRows);
  return (
    <section class="card" aria-label="Timeline">
      <div class="bar">
        <h2>{trace.title}</h2>
        <input
          type="search"
          aria-label="Find an operation"
          placeholder="find: all_to_all"
          value={wanted}
          onInput={({ currentTarget }) => setWanted(currentTarget.value)}
          onKeyDown={({ key }) => key === 'Enter' && find()}
        />
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
        <ol class="rows" aria-hidden="true">
          {trace.rows.slice(0, rows).map((name) => (
            <li key={name} title={name}>
              {name}
            </li>
          ))}
        </ol>
        <canvas
          ref={canvas}
          style={{ height: `${axisHeight + rows * (rowHeight + rowGap)}px` }}
          tabIndex={0}
          role="img"
          aria-label={`Timeline of ${trace.rows.length} lanes over ${formatSeconds(trace.seconds)}; ${help}`}
          onWheel={(event) => {
            event.preventDefault();
            setWindow(zoomed(window, event.deltaY > 0 ? 1.25 : 0.8, momentOf(event), trace.seconds));
          }}
          onMouseDown={({ clientX }) => {
            dragged.current = clientX;
          }}
          onMouseUp={() => {
            dragged.current = undefined;
          }}
          onMouseLeave={() => {
            dragged.current = undefined;
          }}
          onMouseMove={move}
          onKeyDown={(event) => {
            const next = keys[event.key];
            if (next === undefined) return;
            event.preventDefault();
            setWindow(next());
          }}
        />
      </div>
      <p class="said" aria-live="polite">
        {pointed === undefined
          ? 'Point at a bar. Pale: waiting for peers. Underlined: on the critical path of what is simulated.'
          : spanText(trace, pointed)}
      </p>
      {trace.rows.length > rows && <p class="muted">{trace.rows.length - rows} more lanes are not drawn.</p>}
      <ul class="legend">
        {trace.tasks.slice(0, 24).map((name, index) => (
          <li key={name}>
            <span class={`swatch b-s${index % 8}`} /> {name}
          </li>
        ))}
      </ul>
    </section>
  );
}
