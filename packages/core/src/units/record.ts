/** Whether parsed data is a map with keys, rather than a list, a bare value or nothing. */
export const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
