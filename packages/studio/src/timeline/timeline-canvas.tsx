/** Lanes of a trace on a canvas: pale while peers are waited for, full while something runs. */
import { formatBytes, formatSeconds } from '@monta/core';
import { useEffect, useRef, useState } from 'preact/hooks';
import type { OpenedTrace } from './opened-trace.js';
import { barsOf, nextWith, panned, spanAt, type Window, zoomed } from './view.js';

const [rowHeight, rowGap, axisHeight] = [18, 3, 22];
/** Most rows that are drawn; the rest is said. */
export const mostRows = 128;

const help = 'arrows move, + and - zoom, 0 shows all';

interface Colours {
  readonly series: readonly string[];
  readonly ink: string;
  readonly muted: string;
  readonly grid: string;
}

function coloursOf(element: Element): Colours {
  const style = getComputedStyle(element);
  const of = (name: string): string => style.getPropertyValue(`--plot-${name}`).trim();
  return {
    series: [...Array(8).keys()].map((index) => of(`s${index}`)),
    ink: of('ink'),
    muted: of('muted'),
    grid: of('grid'),
  };
}

/** Moments worth a mark, at least 80 pixels apart. */
function ticks({ from, to }: Window, pixels: number): number[] {
  const least = ((to - from) * 80) / pixels;
  const power = 10 ** Math.floor(Math.log10(least));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((one) => one >= least) ?? 10 * power;
  const first = Math.ceil(from / step);
  return Array.from({ length: Math.max(0, Math.floor(to / step) - first + 1) }, (_, i) => (first + i) * step);
}

function draw(canvas: HTMLCanvasElement, trace: OpenedTrace, window: Window, found: number | undefined): void {
  const context = canvas.getContext('2d');
  if (context === null) return;
  const ratio = devicePixelRatio;
  const { clientWidth: width, clientHeight: height } = canvas;
  if (canvas.width !== width * ratio || canvas.height !== height * ratio) {
    canvas.width = width * ratio;
    canvas.height = height * ratio;
  }
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, width, height);
  const colours = coloursOf(canvas);
  context.font = '11px system-ui, sans-serif';
  context.fillStyle = colours.muted;
  context.strokeStyle = colours.grid;
  for (const moment of ticks(window, width)) {
    const x = ((moment - window.from) * width) / (window.to - window.from);
    context.beginPath();
    context.moveTo(x, axisHeight - 6);
    context.lineTo(x, height);
    context.stroke();
    context.fillText(formatSeconds(moment), x + 3, 12);
  }
  for (let row = 0; row < Math.min(trace.rows.length, mostRows); row++) {
    const y = axisHeight + row * (rowHeight + rowGap);
    for (const { span, left, ready, right } of barsOf(trace, row, window, width)) {
      context.fillStyle = colours.series[(trace.task[span] ?? 0) % 8] ?? colours.ink;
      context.globalAlpha = 0.3;
      context.fillRect(left, y, Math.max(0.5, ready - left), rowHeight);
      context.globalAlpha = 1;
      context.fillRect(ready, y, Math.max(0.5, right - ready), rowHeight);
      if (trace.critical[span] === 1) {
        context.fillStyle = colours.ink;
        context.fillRect(left, y + rowHeight - 2, Math.max(0.5, right - left), 2);
      }
      if (span === found) {
        context.strokeStyle = colours.ink;
        context.lineWidth = 2;
        context.strokeRect(left, y, Math.max(2, right - left), rowHeight);
        context.lineWidth = 1;
      }
      if (right - left > 60) {
        context.fillStyle = '#fff';
        context.fillText(trace.tasks[trace.task[span] ?? 0] ?? '', left + 4, y + 13, right - left - 8);
      }
    }
  }
}

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

export function TimelineCanvas({ trace }: { readonly trace: OpenedTrace }) {
  const canvas = useRef<HTMLCanvasElement>(null);
  const [window, setWindow] = useState<Window>({ from: 0, to: trace.seconds });
  const [pointed, setPointed] = useState<number | undefined>(undefined);
  const [wanted, setWanted] = useState('');
  const dragged = useRef<number | undefined>(undefined);
  useEffect(() => {
    setWindow({ from: 0, to: trace.seconds });
    setPointed(undefined);
  }, [trace]);
  useEffect(() => {
    const element = canvas.current;
    if (element === null) return undefined;
    const frame = requestAnimationFrame(() => draw(element, trace, window, pointed));
    const observer = new ResizeObserver(() => draw(element, trace, window, pointed));
    observer.observe(element);
    return () => {
      cancelAnimationFrame(frame);
      observer.disconnect();
    };
  }, [trace, window, pointed]);
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
          ? 'Point at a bar. Pale: waiting for peers. Underlined: on the critical path.'
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
