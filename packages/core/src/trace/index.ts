export { type Span, type SpanCollective, type Trace } from './span.js';
export { type LaneSeconds, laneSeconds, type LaneTimes, laneTimes, spanLanes } from './lane-times.js';
export { lastStep, ofRank, ofWay } from './select.js';
export { clockOffsets } from './clocks.js';
export { perfettoPieces, writePerfetto } from './perfetto-write.js';
export { readPerfetto, readPerfettoPieces, type SpanSink, type TraceHead } from './perfetto-read.js';
export { compareTraces } from './compare.js';
export { readTraceMeasurements, traceLibrary, type TraceOptions } from './trace-measurements.js';
export { withSpreadSizes } from './spread-sizes.js';
