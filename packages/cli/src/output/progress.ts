/**
 * The line that moves while a run trains. On a terminal it is drawn over itself; elsewhere (a log file, CI) a plain
 * line is printed now and then, so that a log stays short.
 */
import { formatInteger, formatSeconds } from '@monta/core/units';
import { textWidth } from './text-width.js';

/** What the progress line needs of its surroundings; a test passes its own clock. */
export interface ProgressOptions {
  /** Word at the start of the line, as `Train`. */
  readonly label: string;
  /** Steps in all. */
  readonly total: number;
  /** Terminal width in columns; undefined where the output is no terminal. */
  readonly columns: number | undefined;
  readonly write: (text: string) => void;
  /** Monotonic seconds. */
  readonly now: () => number;
  /** Shortest time between two lines where there is no terminal, seconds (default 10). */
  readonly plainIntervalSeconds?: number;
}

/** State of the run after a step. Fields that are left out are not shown. */
export interface ProgressState {
  /** Steps done. */
  readonly done: number;
  /** Training loss, nats per token. */
  readonly loss?: number;
  readonly tokensPerSecond?: number;
  readonly secondsPerStep?: number;
}

const redrawIntervalSeconds = 0.1;
const barCells = 20;

const two = (value: number) => String(value).padStart(2, '0');

/** Duration as `0:05`, `12:40` or `3:02:11`. */
export function formatClock(seconds: number): string {
  const whole = Math.max(0, Math.round(seconds));
  const hours = Math.floor(whole / 3600);
  const minutes = Math.floor(whole / 60) % 60;
  return hours > 0 ? `${hours}:${two(minutes)}:${two(whole % 60)}` : `${minutes}:${two(whole % 60)}`;
}

/** A bar of `cells` characters, `fraction` of it filled. */
export function renderBar(fraction: number, cells = barCells): string {
  const full = Math.round(Math.min(1, Math.max(0, fraction)) * cells);
  return '█'.repeat(full) + '░'.repeat(cells - full);
}

/** Draws the line; call `update` after every step and `finish` once. */
export class Progress {
  private readonly started: number;
  private lastDrawn = -Infinity;
  private latest: ProgressState | undefined;
  private visible = false;

  constructor(private readonly options: ProgressOptions) {
    this.started = options.now();
  }

  /**
   * Tells the state after a step; draws when enough time has passed since the last drawing, or when it was the last
   * step.
   */
  update(state: ProgressState): void {
    this.latest = state;
    const now = this.options.now();
    const interval =
      this.options.columns === undefined ? (this.options.plainIntervalSeconds ?? 10) : redrawIntervalSeconds;
    if (state.done < this.options.total && now - this.lastDrawn < interval) return;
    this.lastDrawn = now;
    this.draw(state);
  }

  /** Removes the line from the terminal so that something else can be printed; the next update draws it again. */
  clear(): void {
    if (!this.visible) return;
    this.options.write('\r\u001B[2K');
    this.visible = false;
    this.lastDrawn = -Infinity;
  }

  /** Leaves the last state on the screen and moves to the next line. */
  finish(): void {
    if (this.options.columns === undefined) return;
    if (this.latest) this.draw(this.latest);
    if (this.visible) this.options.write('\n');
    this.visible = false;
  }

  /** Seconds left, from the mean pace so far; undefined before the first step. */
  private secondsLeft(state: ProgressState): number | undefined {
    if (state.done <= 0) return undefined;
    const elapsed = this.options.now() - this.started;
    return (elapsed / state.done) * (this.options.total - state.done);
  }

  private draw(state: ProgressState): void {
    const { label, total, columns } = this.options;
    const left = this.secondsLeft(state);
    const counts = `${String(state.done).padStart(String(total).length)}/${total}`;
    // Least important last: a narrow terminal drops fields from the end, but keeps the time left.
    const fields = [
      counts,
      state.loss === undefined ? undefined : `loss ${state.loss.toFixed(3)}`,
      left === undefined ? undefined : `${formatClock(left)} left`,
      state.tokensPerSecond === undefined ? undefined : `${formatInteger(state.tokensPerSecond)} tok/s`,
      state.secondsPerStep === undefined ? undefined : `${formatSeconds(state.secondsPerStep)}/step`,
    ];
    const order = [0, 1, 3, 4, 2];
    const shown = (kept: number) =>
      order
        .filter((index) => index < kept)
        .flatMap((index) => fields[index] ?? [])
        .join('   ');
    if (columns === undefined) {
      this.options.write(`${label}   ${shown(fields.length)}\n`);
      return;
    }
    const bar = renderBar(total === 0 ? 1 : state.done / total);
    const lines = [
      ...[5, 4, 3].map((kept) => `${label}   ${bar}  ${shown(kept)}`),
      ...[3, 2, 1].map((kept) => `${label}   ${shown(kept)}`),
    ];
    // One column is left free: a full line would wrap on some terminals.
    const line = lines.find((candidate) => textWidth(candidate) < columns) ?? counts;
    this.options.write(`\r\u001B[2K${line}`);
    this.visible = true;
  }
}
