/** What a flag of a framework is: data that reader, checker and writer share. */

/** How a flag takes its value. on and off are switches that set the field to true or false. */
export type FlagKind = 'on' | 'off' | 'onoff' | 'integer' | 'number' | 'text' | 'choice';

export interface Flag {
  /** The field of the framework's configuration that it sets. */
  readonly field: string;
  readonly kind: FlagKind;
  /** Takes one value or more. */
  readonly several: boolean;
  readonly choices?: readonly string[];
  /** Spellings, the first is the usual one. */
  readonly names: readonly string[];
  /** As the framework writes it; undefined: not set. */
  readonly default: string | undefined;
}

const rowPattern = /^(\S+) ([a-z]+)(?:\(([^)]*)\))?(\[\])? (\S+) (.*)$/u;

function names(field: string, column: string): string[] {
  const dashes = field.replaceAll('_', '-');
  if (column === '=') return [`--${dashes}`];
  if (column === '~') return [`--no-${dashes}`, `--disable-${dashes}`];
  return column.split(',');
}

/**
 * Reads rows of the form `field kind flags default`, one a line; a line that begins with a space continues the one
 * before.
 */
export function parseFlagRows(rows: string): Flag[] {
  const lines = rows.trim().replaceAll(/\n +/gu, '').split('\n');
  return lines.map((line) => {
    const [, field = '', kind, choices, several, column = '', value = ''] = rowPattern.exec(line) ?? [];
    if (field === '') throw new Error(`flag row "${line}" is not of the form: field kind flags default`);
    return {
      field,
      kind: kind as FlagKind,
      several: several !== undefined,
      ...(choices === undefined ? {} : { choices: choices.split(',') }),
      names: names(field, column),
      default: value === '-' || value === '?' ? undefined : value === "''" ? '' : value,
    };
  });
}

/** Flags by every spelling. */
export class FlagTable {
  readonly #byName: ReadonlyMap<string, Flag>;
  readonly #byField = new Map<string, Flag>();

  constructor(readonly flags: readonly Flag[]) {
    this.#byName = new Map(flags.flatMap((flag) => flag.names.map((name) => [name, flag] as const)));
    for (const flag of flags) if (!this.#byField.has(flag.field)) this.#byField.set(flag.field, flag);
  }

  get(name: string): Flag | undefined {
    return this.#byName.get(name);
  }

  /**
   * The flag that sets a field; of several the first. Throws `RangeError` for a field that no flag sets: a mistake in a
   * rule.
   */
  ofField(field: string): Flag {
    const flag = this.findField(field);
    if (flag === undefined) throw new RangeError(`no flag sets ${field}`);
    return flag;
  }

  /** The flag that sets a field; undefined where none does. */
  findField(field: string): Flag | undefined {
    return this.#byField.get(field);
  }

  get names(): readonly string[] {
    return [...this.#byName.keys()];
  }
}
