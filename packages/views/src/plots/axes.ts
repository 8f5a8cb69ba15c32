/**
 * Scales, ticks, axes, headings and legends that the plots share. Axis names stand level at the ends of the axes, never
 * turned.
 */
import { scaleLinear, scaleLog } from 'd3-scale';
import { coordinate, element, estimateTextWidth, fill, fontSize, label, line, seriesRole, type Role } from '../svg.js';
import { maxOf } from '@monta/core/units';

export interface Axis {
  /** What is shown, with its unit if the tick labels hold none: `loss, nat per byte`. */
  readonly label: string;
  readonly scale?: 'linear' | 'log';
  /** Text of a tick; a number with thousands separated when left out. */
  readonly format?: (value: number) => string;
  /** Shown range; from the data when left out. */
  readonly domain?: readonly [number, number];
}

/** A mapping from values to pixels, with its ticks. */
export interface Scale {
  (value: number): number;
  readonly ticks: readonly number[];
  readonly domain: readonly [number, number];
}

/** Default text of a tick. */
function plainNumber(value: number): string {
  return value.toLocaleString('en-US', { maximumSignificantDigits: 6 });
}

/** The text of an axis' ticks. */
export function formatOf(axis: Axis): (value: number) => string {
  const format = axis.format ?? plainNumber;
  // Nothing needs no unit, except where 0 % is a statement of its own.
  return (value) => (value === 0 ? format(0).replace(/ [a-zA-Zµ/]+$/u, '') : format(value));
}

/** Smaller values count as zero: their ratios would overflow, and nothing that is plotted is as small. */
const smallest = 1e-150;
const zeroIfTiny = (value: number): number => (Math.abs(value) < smallest ? 0 : value);

/** Ticks of a logarithmic axis: 1-2-5 in each decade, else whole decades, thinned to about `count`. */
function logTicks(low: number, high: number, count: number): number[] {
  const decades = (steps: readonly number[]) => {
    const ticks: number[] = [];
    for (let power = Math.floor(Math.log10(low)); power <= Math.ceil(Math.log10(high)); power++) {
      for (const step of steps) {
        const tick = Number(`${step}e${power}`);
        if (tick >= low * (1 - 1e-9) && tick <= high * (1 + 1e-9)) ticks.push(tick);
      }
    }
    return ticks;
  };
  const fine = decades([1, 2, 5]);
  if (fine.length < 3)
    return scaleLinear([low, high], [0, 1])
      .ticks(count)
      .filter((tick) => tick > 0);
  if (fine.length <= count) return fine;
  const whole = decades([1]);
  const stride = Math.max(1, Math.ceil(whole.length / (1.6 * count)));
  return whole.filter((_, index) => index % stride === 0);
}

/**
 * A scale that covers `values`, to be drawn over `range` (px) with about `tickCount` ticks. Without a fixed domain, a
 * linear scale is widened to round numbers (and down to 0 when `fromZero`), a logarithmic one by a twentieth on each
 * side. Values that are not finite, or not positive on a logarithmic axis, do not count. Throws RangeError for a fixed
 * domain that the axis cannot show.
 */
export function makeScale({
  axis,
  values,
  range,
  tickCount,
  fromZero = false,
}: {
  readonly axis: Axis;
  readonly values: readonly number[];
  readonly range: readonly [number, number];
  readonly tickCount: number;
  readonly fromZero?: boolean;
}): Scale {
  const log = axis.scale === 'log';
  const usable = values.map(zeroIfTiny).filter((value) => Number.isFinite(value) && (!log || value > 0));
  const fixed = log ? axis.domain : axis.domain?.map(zeroIfTiny);
  if (fixed && !fixed.every((end) => Number.isFinite(end) && (!log || end > 0))) {
    throw new RangeError(`${axis.label}: the domain ${fixed.join(' to ')} cannot be shown`);
  }
  let low = usable.reduce((a, b) => Math.min(a, b), Infinity);
  let high = usable.reduce((a, b) => Math.max(a, b), -Infinity);
  if (usable.length === 0) [low, high] = log ? [1, 10] : [0, 1];
  if (fromZero && !log) [low, high] = [Math.min(0, low), Math.max(0, high)];
  const room = log && !fixed ? (high / low) ** 0.05 : 1;
  [low, high] = fixed ? [fixed[0] ?? low, fixed[1] ?? high] : [low / room, high * room];
  // A range of no width, to within rounding, is widened around its value.
  if (Math.abs(high - low) <= 1e-9 * Math.max(Math.abs(low), Math.abs(high))) {
    [low, high] =
      high === 0 ? [0, 1] : log ? [low / 2, high * 2] : [low - Math.abs(low) / 2, high + Math.abs(high) / 2];
  }
  if (log) {
    const scale = scaleLog([low, high], range);
    return Object.assign((value: number) => scale(value), {
      ticks: logTicks(low, high, tickCount),
      domain: [low, high] as const,
    });
  }
  const scale = scaleLinear([low, high], range);
  if (!fixed) scale.nice(tickCount);
  const [start = low, end = high] = scale.domain();
  return Object.assign((value: number) => scale(value), {
    ticks: scale.ticks(tickCount),
    domain: [start, end] as const,
  });
}

/** Where the marks go, px from the drawing's corner. */
export interface Frame {
  readonly left: number;
  readonly right: number;
  readonly top: number;
  readonly bottom: number;
}

export interface LegendItem {
  readonly name: string;
  readonly role: Role;
  readonly shape: 'line' | 'dashed' | 'faint' | 'box' | 'pale' | 'dot';
}

/** Legend items for series in order. */
export function legendOf(names: readonly string[], shape: LegendItem['shape']): LegendItem[] {
  return names.map((name, index) => ({ name, role: seriesRole(index), shape }));
}

const margin = 12;
const rowHeight = 18;
const titleSize = 14;
/** Bold letters are wider too. */
const titleWidening = (1.06 * titleSize) / fontSize;

function legendMark({ role, shape }: LegendItem, x: number, y: number): string {
  if (shape === 'box' || shape === 'pale') {
    const opacity = shape === 'pale' ? 0.25 : undefined;
    return element('rect', {
      x: x + 2,
      y: y - 10,
      width: 12,
      height: 11,
      rx: 2,
      ...fill(role),
      'fill-opacity': opacity,
    });
  }
  if (shape === 'dot') return element('circle', { cx: x + 8, cy: y - 4, r: 4, ...fill(role) });
  return line({
    x1: x,
    y1: y - 4,
    x2: x + 16,
    y2: y - 4,
    role,
    extra: {
      'stroke-width': 2,
      'stroke-dasharray': shape === 'dashed' ? '5 3' : undefined,
      'stroke-opacity': shape === 'faint' ? 0.45 : undefined,
    },
  });
}

/** Title, subtitle and a legend that wraps; `height` is how far down they reach. */
export function heading(
  width: number,
  title: string | undefined,
  subtitle: string | undefined,
  legend: readonly LegendItem[],
): { readonly markup: string; readonly height: number } {
  const parts: string[] = [];
  let y = margin / 2;
  for (const text of title === undefined ? [] : wrap(title, (width - 2 * margin) / titleWidening)) {
    y += 17;
    parts.push(label(margin, y, text, { role: 'ink', size: titleSize, bold: true }));
  }
  for (const text of subtitle === undefined ? [] : wrap(subtitle, width - 2 * margin)) {
    y += 16;
    parts.push(label(margin, y, text));
  }
  if (legend.length > 0) {
    let x = margin;
    y += rowHeight + 3;
    for (const item of legend) {
      const itemWidth = 22 + estimateTextWidth(item.name) + 16;
      if (x > margin && x + itemWidth - 16 > width - margin) {
        x = margin;
        y += rowHeight;
      }
      parts.push(legendMark(item, x, y), label(x + 22, y, item.name, { role: 'ink' }));
      x += itemWidth;
    }
  }
  return { markup: parts.join(''), height: y + 8 };
}

/** Breaks a text into lines that fit a width in px. */
export function wrap(text: string, width: number): string[] {
  const lines: string[] = [];
  let current = '';
  for (const word of text.split(' ')) {
    const longer = current === '' ? word : `${current} ${word}`;
    if (current !== '' && estimateTextWidth(longer) > width) {
      lines.push(current);
      current = word;
    } else current = longer;
  }
  return current === '' ? lines : [...lines, current];
}

/** Room that the tick labels of a vertical axis need, px. */
export function tickRoom(scale: Scale, format: (value: number) => string): number {
  return Math.max(0, maxOf(scale.ticks.map((tick) => estimateTextWidth(format(tick))))) + 8;
}

/** Grid lines and tick labels of the vertical axis, its name above its top end. */
export function verticalAxis(frame: Frame, scale: Scale, axis: Axis): string {
  const format = formatOf(axis);
  const ticks = scale.ticks.map((tick) => {
    const y = scale(tick);
    return (
      line({ x1: frame.left, y1: y, x2: frame.right, y2: y, role: 'grid' }) +
      label(frame.left - 6, y + 4, format(tick), { anchor: 'end' })
    );
  });
  return `${ticks.join('')}${label(margin, frame.top - 11, `↑ ${axis.label}`, { role: 'ink' })}`;
}

/**
 * Base line, ticks and labels of the horizontal axis, its name below its right end. Labels that would touch are left
 * out.
 */
export function horizontalAxis(frame: Frame, scale: Scale, axis: Axis, gridTop?: number): string {
  const format = formatOf(axis);
  const parts: string[] = [];
  let free = -Infinity;
  for (const tick of scale.ticks) {
    const x = scale(tick);
    const text = format(tick);
    const half = estimateTextWidth(text) / 2;
    if (gridTop !== undefined) parts.push(line({ x1: x, y1: gridTop, x2: x, y2: frame.bottom, role: 'grid' }));
    parts.push(line({ x1: x, y1: frame.bottom, x2: x, y2: frame.bottom + 4, role: 'axis' }));
    // inside the drawing, also at its ends
    const centre = Math.min(Math.max(x, half), frame.right + margin - half);
    if (centre - half < free) continue;
    parts.push(label(centre, frame.bottom + 17, text, { anchor: 'middle' }));
    free = centre + half + 6;
  }
  parts.push(line({ x1: frame.left, y1: frame.bottom, x2: frame.right, y2: frame.bottom, role: 'axis' }));
  parts.push(label(frame.right, frame.bottom + 35, `${axis.label} →`, { anchor: 'end', role: 'ink' }));
  return parts.join('');
}

/** Height that `horizontalAxis` takes below the frame, px. */
export const horizontalAxisHeight = 43;

/** The margin around everything, px. */
export const plotMargin = margin;

/** A path's points as `x,y` pairs, for tests and for paths without curves. */
export function pathOf(points: readonly (readonly [number, number])[]): string {
  return points.map(([x, y], index) => `${index === 0 ? 'M' : 'L'}${coordinate(x)},${coordinate(y)}`).join('');
}
