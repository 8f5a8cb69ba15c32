/** How a schedule has experts' rows travel, for what a search chooses among. */
import type { DispatchKind } from '../estimate/index.js';

/** Halves that move rows as a kind says. */
export const dispatchOf = {
  all_to_all: 'scattered',
  deduplicated: 'deduplicated',
  gathered: 'gathered',
} as const satisfies Readonly<Record<DispatchKind, string>>;
