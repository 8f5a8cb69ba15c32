/** Plans that were written to files, priced again. */
import type { PricedPlan } from '@monta/core';
import { InputError } from '@monta/core/units';
import { pricedPlan, readPlan } from '@monta/core/plan/document';
import { readTextFile } from '../files.js';
import { loadCluster, loadModel } from '../inputs.js';

/** Reads a plan with its model and cluster. Throws `InputError`. */
export function loadPlan(file: string): PricedPlan {
  const document = readPlan(readTextFile(file), file);
  try {
    return pricedPlan(document, loadModel(document.model), loadCluster(document.cluster));
  } catch (error) {
    throw error instanceof InputError ? error.at({ file }) : error;
  }
}
