/** Measurements of others that the repository keeps, with their sources. */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { readMeasurementsCsv, type Measurement } from '@monta/core';

const fixtures = fileURLToPath(new URL('../../../core/src/cost/calibration/fixtures/', import.meta.url));

const read = (name: string): readonly Measurement[] =>
  readMeasurementsCsv(readFileSync(`${fixtures}${name}`, 'utf8'), name).measurements;

/** Collectives inside a node by seven GPUs. */
export const inside = read('nccl-inside-node.csv');
/** Results of 19 nccl-tests logs. */
export const logs = read('nccl-tests-logs.csv');
