/** What a person gives: fields as they are typed, files, and what these tell of a cluster. */
import type { Calibration, TierGround } from '@monta/core';

/** A file that was dropped: its text never leaves the page. */
export interface DroppedFile {
  readonly name: string;
  readonly text: string;
}

/** What the figures of a cluster rest on. */
export interface Evidence {
  readonly grounds: readonly TierGround[];
  /** What a topology leaves open, and what to doubt in logs. */
  readonly notes: readonly string[];
  readonly calibration?: Calibration;
}

/** The text of a field; undefined where there is none. */
export const given = (text: string | undefined): string | undefined => {
  const trimmed = text?.trim() ?? '';
  return trimmed === '' ? undefined : trimmed;
};
