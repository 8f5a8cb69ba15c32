/** The predictor that anyone would write first, to stand beside ours in every comparison. */
import { busFactor } from './measurement.js';
import { gpuKey, linksOf } from './gpus.js';
import type { Knot } from './clean-points.js';
import type { Series, SeriesKey } from './series.js';

/** Straight lines between points in log-log coordinates; beyond the ends the last line goes on. At least two points. */
function logLogLine(points: readonly Knot[], bytes: number): number {
  let high = points.findIndex((p) => p.bytes >= bytes);
  if (high < 0) high = points.length - 1;
  high = Math.max(1, high);
  const [a, b] = [points[high - 1], points[high]];
  if (a === undefined || b === undefined) return Number.NaN;
  const slope = Math.log(b.seconds / a.seconds) / Math.log(b.bytes / a.bytes);
  return a.seconds * (bytes / a.bytes) ** slope;
}

/**
 * Log-log lines through the series itself; when it was not measured, bus bandwidth at equal total size carried over
 * from the nearest rank count, else from another collective (the alphabetically first), else from a GPU of the same
 * family in proportion to the links.
 */
export function naiveSeconds(all: readonly Series[], key: SeriesKey, bytes: number): number | undefined {
  const near = (s: SeriesKey): boolean => gpuKey(s.gpu) === gpuKey(key.gpu) && s.system === key.system;
  const shaped = (s: SeriesKey): boolean => s.ranks === key.ranks && (s.nodes ?? 1) === (key.nodes ?? 1);
  const own = all.filter((s) => near(s) && s.op === key.op);
  const exact = own.find((s) => shaped(s) && s.library === key.library) ?? own.find(shaped);
  if (exact !== undefined) return logLogLine(exact.points, bytes);
  const distance = (s: Series): number => Math.abs(Math.log(s.ranks / key.ranks));
  const byRanks = own
    .filter((s) => (s.nodes ?? 1) > 1 === (key.nodes ?? 1) > 1)
    .sort((a, b) => distance(a) - distance(b) || a.ranks - b.ranks)[0];
  const byOp = all.filter((s) => near(s) && shaped(s)).sort((a, b) => (a.op < b.op ? -1 : 1))[0];
  const source = byRanks ?? byOp;
  if (source !== undefined)
    return logLogLine(source.points, bytes) * (busFactor(key.op, key.ranks) / busFactor(source.op, source.ranks));
  const links = linksOf(key.gpu);
  const relative = all.find((s) => s.op === key.op && shaped(s) && linksOf(s.gpu)?.family === links?.family);
  const from = relative === undefined ? undefined : linksOf(relative.gpu);
  if (relative === undefined || from === undefined || links === undefined) return undefined;
  return (logLogLine(relative.points, bytes) * from.bytesPerSecond) / links.bytesPerSecond;
}
