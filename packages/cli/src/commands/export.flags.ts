/** Flags of `monta export`. */
import type { ExportTarget } from '@monta/core';

export interface ExportFlags {
  readonly json: boolean;
  readonly to: ExportTarget;
  readonly model?: string;
  readonly cluster?: string;
  readonly nearest: boolean;
}
