export * from './span.js';
export * from './lane-times.js';
export * from './clocks.js';
export { perfettoPieces, writePerfetto } from './perfetto-write.js';
export { readPerfetto, readPerfettoPieces, type SpanSink, type TraceHead } from './perfetto-read.js';
export * from './compare.js';
export { readTraceMeasurements, traceLibrary, type TraceOptions } from './trace-measurements.js';
export { withSpreadSizes } from './spread-sizes.js';
