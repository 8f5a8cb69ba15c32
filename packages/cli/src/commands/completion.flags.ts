/** Flags of `monta completion`. */
export const shells = ['bash', 'zsh', 'fish'] as const;

/** It has none. */
export type CompletionFlags = object;

export type Shell = (typeof shells)[number];
