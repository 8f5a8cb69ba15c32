/**
 * Colour and weight of text on a terminal: off by default, on only where a person looks and has not asked otherwise.
 */
import { styleText } from 'node:util';

/** Functions that dress a piece of text; all of them return it unchanged when colour is off. */
export interface Style {
  /** Columns that lines have, of a terminal; Infinity where there is none. */
  readonly columns: number;
  readonly bold: (text: string) => string;
  readonly dim: (text: string) => string;
  readonly good: (text: string) => string;
  readonly bad: (text: string) => string;
  readonly caution: (text: string) => string;
  readonly accent: (text: string) => string;
}

type Format = Parameters<typeof styleText>[0];

/** Dresses text when `enabled`, else leaves it alone. */
export function createStyle(enabled: boolean, columns = Infinity): Style {
  const dress = (format: Format) => (text: string) =>
    enabled && text !== '' ? styleText(format, text, { validateStream: false }) : text;
  return {
    columns,
    bold: dress('bold'),
    dim: dress('dim'),
    good: dress('green'),
    bad: dress('red'),
    caution: dress('yellow'),
    accent: dress('cyan'),
  };
}

/**
 * Whether to colour what goes to a stream. NO_COLOR (https://no-color.org; whatever its value, unless empty) wins over
 * FORCE_COLOR, and that over what the stream is; a dumb terminal gets no colour.
 */
export function colourWanted(isTerminal: boolean, env: Readonly<Record<string, string | undefined>>): boolean {
  if (env['NO_COLOR']) return false;
  const forced = env['FORCE_COLOR'];
  if (forced !== undefined && forced !== '') return forced !== '0' && forced !== 'false';
  return isTerminal && env['TERM'] !== 'dumb';
}
