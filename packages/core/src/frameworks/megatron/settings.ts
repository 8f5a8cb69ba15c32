/** A person's Megatron flags as settings of the configuration's fields. */
import type { Finding, Severity } from '../finding.js';
import type { Flag, FlagTable } from '../flag.js';
import type { Located } from '../shell/place.js';
import { isUnknown, readable } from '../shell/state.js';
import { nearest } from '../../units/nearest.js';
import { megatronFlags, megatronVersion, renamedMegatronFlags } from './flags.js';
import { forkOf } from './forks.js';

export type SettingValue = boolean | number | string | readonly string[];

/** A field that was set, by which word. */
export interface Setting {
  /** undefined: only the running machine knows it. */
  readonly value: SettingValue | undefined;
  readonly at: Located;
}

export interface Settings {
  readonly fields: ReadonlyMap<string, Setting>;
  /** Fields that were set to nothing: they have the framework's default. */
  readonly nothing?: ReadonlySet<string>;
  /** Some words are not known, and may be flags: what is not given may be given all the same. */
  readonly open?: boolean;
  readonly findings: readonly Finding[];
  /** The fork of Megatron-LM that the flags are for. */
  readonly fork?: string;
}

const source = 'megatron/training/arguments.py at d98e8a64';

/** Training scripts of Megatron-LM itself: others add flags of their own. */
const ownPrograms = /(?:^|\/)(?:pretrain|train|finetune)_(?:gpt|mamba|hybrid|bert|t5|ict|retro|vlm|vision\w*|rl)\.py$/u;

/**
 * Reads arguments (without program and script). What is wrong with one of them is a finding; the others are still read.
 * A flag that only the script named `program`, or a fork of Megatron-LM, may have is told as such.
 */
export function readMegatronArguments(words: readonly Located[], program?: string): Settings {
  const fork = forkOf(words.map(({ text }) => text.split('=')[0] ?? ''));
  const other = program === undefined || ownPrograms.test(program) ? undefined : program;
  const reader = new Reader(megatronFlags, { other: fork ?? other, fork });
  reader.read(words);
  const { fields, findings, open } = reader;
  return { fields, findings, open, ...(fork === undefined ? {} : { fork }) };
}

class Reader {
  readonly fields = new Map<string, Setting>();
  readonly findings: Finding[] = [];
  open = false;

  constructor(
    readonly table: FlagTable,
    /** Another trainer than Megatron-LM's; and the fork that it is, which may take other values. */
    readonly of: { readonly other: string | undefined; readonly fork: string | undefined },
  ) {}

  read(words: readonly Located[]): void {
    let at = 0;
    while (at < words.length) {
      const word = words[at];
      at += 1;
      if (word !== undefined && isUnknown(word.text)) this.open = true;
      if (word === undefined || !word.text.startsWith('--')) continue;
      const equals = word.text.indexOf('=');
      const name = equals < 0 ? word.text : word.text.slice(0, equals);
      const inline = equals < 0 ? [] : [{ ...word, text: word.text.slice(equals + 1) }];
      const values: Located[] = [...inline];
      // A negative number is a value, not a flag.
      while (at < words.length && !/^--?[A-Za-z]/u.test(words[at]?.text ?? '')) {
        const next = words[at];
        if (next !== undefined) values.push(next);
        at += 1;
      }
      this.#setting({ ...word, text: name }, values);
    }
  }

  #setting(name: Located, values: readonly Located[]): void {
    const renamed = renamedMegatronFlags[name.text];
    const flag = this.table.get(name.text);
    if (renamed !== undefined) this.#renamed(name, renamed.now, renamed.accepted && flag !== undefined);
    if (flag === undefined) {
      if (values.some(({ text }) => isUnknown(text))) this.open = true;
      if (renamed === undefined) this.#unknown(name);
      return;
    }
    const value = this.#value(name, flag, values);
    if (value !== undefined) this.fields.set(flag.field, { value: value.known, at: name });
  }

  #value(name: Located, flag: Flag, values: readonly Located[]): { known: SettingValue | undefined } | undefined {
    if (flag.kind === 'on' || flag.kind === 'off') {
      const known = values.filter(({ text }) => !isUnknown(text));
      if (known.length < values.length) this.open = true;
      // What is not known may be nothing, or flags.
      if (known.length > 0) this.#wrong(name, `${name.text} takes no value, but ${quoted(known)} follows it`);
      return { known: flag.kind === 'on' };
    }
    if (flag.kind === 'onoff') return { known: !name.text.startsWith('--no-') };
    if (values.length === 0) {
      this.#wrong(name, `${name.text} takes a value, but none follows`);
      return undefined;
    }
    const further = values.slice(1).filter(({ text }) => !isUnknown(text));
    if (further.length < values.length - 1) this.open = true;
    if (!flag.several && further.length > 0)
      this.#wrong(name, `${name.text} takes one value, but ${quoted(values)} follow it`);
    const texts = (flag.several ? values : values.slice(0, 1)).map(({ text }) => text);
    if (texts.some(isUnknown)) return { known: undefined };
    const bad = texts.find((text) => !fits(flag, text));
    if (bad !== undefined) {
      // another trainer may have choices of its own
      const severity = flag.choices !== undefined && this.of.other !== undefined ? 'unknown' : 'error';
      this.#wrong(name, `${name.text} ${bad} is not ${expected(flag)}`, severity);
      return undefined;
    }
    if (flag.several) return { known: texts };
    const [text = ''] = texts;
    return { known: flag.kind === 'integer' || flag.kind === 'number' ? Number(text) : text };
  }

  #renamed(name: Located, now: string, accepted: boolean): void {
    this.findings.push({
      severity: accepted ? 'changed' : this.of.fork === undefined ? 'error' : 'unknown',
      rule: 'renamed-flag',
      flags: [name.text],
      message: `${name.text} is of an older version`,
      consequence: accepted ? 'it is still taken, with a warning' : this.#stops(),
      mend: `write ${now}`,
      source,
      at: name,
    });
  }

  #unknown(name: Located): void {
    const near = nearest(name.text, this.table.names);
    this.findings.push({
      severity: this.of.other === undefined ? 'error' : 'unknown',
      rule: 'unknown-flag',
      flags: [name.text],
      message: `${name.text} is not a flag of Megatron-LM ${megatronVersion}`,
      consequence: `the parser stops, unless ${this.of.other ?? 'the script'} adds flags of its own`,
      mend: near === undefined ? 'remove it, or check the version' : `did you mean ${near}?`,
      source,
      at: name,
    });
  }

  #stops(): string {
    const { fork } = this.of;
    return fork === undefined ? 'the parser stops' : `the parser of Megatron-LM stops; ${fork} may take it`;
  }

  #wrong(name: Located, message: string, severity: Severity = 'error'): void {
    this.findings.push({
      severity: this.of.fork === undefined ? severity : 'unknown',
      rule: 'flag-value',
      flags: [name.text],
      message: readable(message),
      consequence: this.#stops(),
      mend: 'give it the value that it takes',
      source,
      at: name,
    });
  }
}

const quoted = (values: readonly Located[]): string => values.map(({ text }) => `"${readable(text)}"`).join(', ');

function fits({ kind, choices }: Flag, text: string): boolean {
  if (kind === 'integer') return /^[+-]?\d+$/u.test(text.replaceAll('_', ''));
  if (kind === 'number') return text !== '' && !Number.isNaN(Number(text));
  return choices === undefined || choices.includes(text);
}

function expected({ kind, choices }: Flag): string {
  if (kind === 'integer') return 'a whole number';
  if (kind === 'number') return 'a number';
  return `one of ${(choices ?? []).join(', ')}`;
}
