/** A searched plan and its runners-up as a table. */
import type { PlanCandidate as Candidate } from '@monta/core';
import { planColumns, planRow } from '@monta/core/plan';
import type { Style } from '../output/style.js';
import { renderTable } from '../output/table.js';

export const planTable = (plans: readonly Candidate[], style: Style, marked?: number): string =>
  renderTable(planColumns, plans.map(planRow), { style, ...(marked === undefined ? {} : { marked }) });
