/**
 * Expands the words of a launch script: quotes, variables, arrays, arithmetic, and the few commands whose output a text
 * decides.
 */
import type { DoubleQuotedChild, HereDocBody, ParameterExpansionPart, ParsedScript, Word, WordPart } from 'unbash';
import { arithmetic } from './arithmetic.js';
import { Fields } from './fields.js';
import type { Located, Place, Source } from './place.js';
import { isUnknown, readable, unknownText, type ShellState, type Variable } from './state.js';

/** Runs the script of `$(…)` and gives what it prints, undefined where only a running machine knows. */
export type Substitute = (script: ParsedScript) => string | undefined;

export class Expander {
  constructor(
    readonly state: ShellState,
    readonly source: Source,
    readonly substitute: Substitute,
  ) {}

  place(node: { readonly pos: number; readonly end: number }): Place {
    return { source: this.source, start: node.pos, end: node.end };
  }

  /** The fields of words, as a command gets them. */
  fields(words: readonly Word[]): Located[] {
    return words.flatMap((word) => {
      const fields = new Fields(this.place(word));
      this.#word(word, fields);
      fields.end();
      return fields.list;
    });
  }

  /** A word as one text, as the right side of an assignment. */
  text(word: Word): string {
    const fields = new Fields(this.place(word));
    if (word.parts === undefined) return word.value;
    for (const part of word.parts) this.#part(part, fields, true);
    fields.end();
    return fields.list.map(({ text }) => text).join(' ');
  }

  /** The text behind `<<`, its variables expanded. */
  here(body: HereDocBody): string {
    if (body.parts === undefined) return body.text;
    const fields = new Fields(this.place(body));
    for (const part of body.parts) this.#part(part, fields, true);
    fields.end();
    return fields.list.map(({ text }) => text).join(' ');
  }

  /** The value of an arithmetic word or name; undefined where it is not known. */
  number(text: string): number | undefined {
    const name = text.replace(/^\$\{?|\}$/gu, '');
    if (/^\d/u.test(name)) return /^\d+#/u.test(name) ? undefined : Number(name);
    const value = this.#lookUp(name, undefined)?.text;
    if (value === undefined || value === '') return 0;
    const number = Number(value);
    return Number.isInteger(number) ? number : undefined;
  }

  #word(word: Word, fields: Fields): void {
    if (word.parts === undefined) {
      if (word.value !== '' || word.text !== '') fields.join(word.value);
      return;
    }
    for (const part of word.parts) this.#part(part, fields, false);
  }

  #part(part: WordPart | DoubleQuotedChild, fields: Fields, quoted: boolean): void {
    switch (part.type) {
      case 'Literal':
      case 'SingleQuoted':
      case 'AnsiCQuoted':
        fields.join(part.value);
        return;
      case 'DoubleQuoted':
      case 'LocaleString':
        if (part.parts.length === 0) fields.join('');
        for (const inner of part.parts) this.#part(inner, fields, true);
        return;
      case 'SimpleExpansion':
        this.#expansion({ name: part.text.slice(1), node: part, index: undefined, fields, quoted });
        return;
      case 'ParameterExpansion':
        this.#parameter(part, fields, quoted);
        return;
      case 'ArithmeticExpansion': {
        const value = part.expression && arithmetic(part.expression, (t) => this.number(t), this.#assign(part));
        this.#put(value === undefined ? unknownText(part.text) : String(value), part, fields, quoted);
        return;
      }
      case 'CommandExpansion': {
        const output = part.script === undefined ? undefined : this.substitute(part.script);
        this.#put(output?.replace(/\n+$/u, '') ?? unknownText(part.text), part, fields, quoted);
        return;
      }
      case 'BraceExpansion':
        this.#braces(part.text, fields);
        return;
      case 'ProcessSubstitution':
        fields.join(unknownText(part.text));
        return;
      case 'Glob':
      case 'ExtendedGlob':
        fields.join(part.text);
    }
  }

  #put(text: string, node: { pos: number; end: number }, fields: Fields, quoted: boolean): void {
    if (quoted) fields.join(text);
    else fields.split({ text, place: this.place(node) });
  }

  #assign(node: { pos: number; end: number }): (name: string, value: number) => void {
    return (name, value) => this.state.setText(name, String(value), this.place(node));
  }

  /** `{a,b}` and `{1..4}` without nesting; anything else stays as it is. */
  #braces(text: string, fields: Fields): void {
    const range = /^\{(-?\d+)\.\.(-?\d+)\}$/u.exec(text);
    const [first, last] = [Number(range?.[1]), Number(range?.[2])];
    if (range && Math.abs(last - first) < 1000) {
      const step = last < first ? -1 : 1;
      for (let value = first; value !== last + step; value += step) {
        fields.join(String(value));
        if (value !== last) fields.end();
      }
      return;
    }
    const list = /^\{([^{}]*,[^{}]*)\}$/u.exec(text)?.[1]?.split(',');
    if (list === undefined) fields.join(text);
    else
      list.forEach((item, index) => {
        if (index > 0) fields.end();
        fields.join(item);
      });
  }

  #lookUp(name: string, index: string | undefined): Located | undefined {
    const position = Number(name);
    if (Number.isInteger(position) && position > 0) return this.state.positional[position - 1];
    const variable = this.state.variables.get(name);
    if (variable === undefined) return undefined;
    if (variable.kind === 'text') return index === undefined || index === '0' ? variable.value : undefined;
    if (variable.kind === 'list') return variable.values[index === undefined ? 0 : (this.number(index) ?? -1)];
    return index === undefined ? undefined : variable.entries.get(index);
  }

  #all(name: string): readonly Located[] | undefined {
    if (name === '@' || name === '*') return this.state.positional;
    const variable = this.state.variables.get(name);
    return variable && elementsOf(variable);
  }

  #expansion({
    name,
    node,
    index,
    fields,
    quoted,
  }: {
    readonly name: string;
    readonly node: { pos: number; end: number };
    readonly index: string | undefined;
    readonly fields: Fields;
    readonly quoted: boolean;
  }): void {
    if (name === '@' || name === '*' || index === '@' || index === '*') {
      const values = this.#all(name) ?? this.#elsewhere(name, node);
      if ((index === '*' || name === '*') && quoted)
        fields.join(values.map(({ text }) => text).join(this.#lookUp('IFS', undefined)?.text.charAt(0) ?? ' '));
      else fields.elements(values, quoted);
      return;
    }
    const value = this.#special(name) ?? this.#lookUp(name, index) ?? this.#unset(name, node);
    if (quoted) fields.join(value.text, value.place);
    else fields.split(value);
  }

  #special(name: string): Located | undefined {
    const place = { source: this.source, start: 0, end: 0 };
    if (name === '#') return { text: String(this.state.positional.length), place };
    if (name === '?') return { text: '0', place };
    if (name === '0' || name === 'BASH_SOURCE') return { text: this.source.file, place };
    if (name === '$' || name === '!') return { text: unknownText(`$${name}`), place };
    return undefined;
  }

  /** An unset variable is empty, as in the shell; what the machine usually sets is unknown instead. */
  #unset(name: string, node: { pos: number; end: number }): Located {
    const place = this.place(node);
    if (/^\d+$/u.test(name)) {
      this.state.assume(`argument $${name} of the script is not given: not known here`, place);
      return { text: unknownText(`$${name}`), place };
    }
    if (/^(?:SLURM|OMPI|PMI|PBS|LSB)_|^(?:HOSTNAME|HOME|USER|PWD|TMPDIR|RANDOM|PATH|LD_LIBRARY_PATH)$/u.test(name))
      return { text: unknownText(`$${name}`), place };
    const [elsewhere] = this.#elsewhere(name, node);
    if (elsewhere !== undefined) return elsewhere;
    this.state.assume(`$${name} is not set by the script: taken as empty`, place);
    return { text: '', place };
  }

  /** What a sourced file that is not at hand may have set; nothing where there is none. */
  #elsewhere(name: string, node: { pos: number; end: number }): readonly Located[] {
    const { unread } = this.state;
    if (unread === undefined) return [];
    const place = this.place(node);
    this.state.assume(`$${name} may be set by ${unread}, which is not read: not known here`, place);
    return [{ text: unknownText(`$${name}`), place }];
  }

  #parameter(part: ParameterExpansionPart, fields: Fields, quoted: boolean): void {
    const { parameter: name, prefix, operation } = part;
    const index = part.index && this.text(part.index);
    if (prefix === '#') {
      const all = index === '@' || index === '*';
      const length = all ? (this.#all(name) ?? []).length : (this.#lookUp(name, index)?.text.length ?? 0);
      fields.join(String(length));
      return;
    }
    if (prefix === '!') {
      const target = this.#lookUp(name, undefined)?.text;
      if (target === undefined || isUnknown(target)) fields.join(unknownText(part.text));
      else this.#expansion({ name: target, node: part, index: undefined, fields, quoted });
      return;
    }
    if (operation === undefined) {
      this.#expansion({ name, node: part, index, fields, quoted });
      return;
    }
    if (operation.type === 'Slice' && (name === '@' || index === '@')) {
      const all = this.#all(name) ?? [];
      const start = this.number(this.text(operation.offset)) ?? 0;
      const length = operation.length && this.number(this.text(operation.length));
      // arguments count from 1, elements of a list from 0
      const from = Math.max(0, name === '@' ? start - 1 : start);
      fields.elements(all.slice(from, length === undefined ? undefined : from + length), quoted);
      return;
    }
    if (index === '@' || index === '*') {
      if (operation.type === 'Default' && operation.operator.endsWith('+') && !(this.#all(name)?.length ?? 0)) return;
      this.#expansion({ name, node: part, index, fields, quoted });
      return;
    }
    const value = this.#special(name) ?? this.#lookUp(name, index);
    const place = value?.place ?? this.place(part);
    const text = this.#operate(part, operation, value);
    if (quoted) fields.join(text, place);
    else fields.split({ text, place });
  }

  #operate(
    part: ParameterExpansionPart,
    operation: NonNullable<ParameterExpansionPart['operation']>,
    value: Located | undefined,
  ): string {
    const text = value?.text ?? '';
    switch (operation.type) {
      case 'Default':
        return this.#default(part, operation.operator, this.text(operation.operand), value);
      case 'Remove':
        return isUnknown(text) ? text : removed(text, operation.operator, this.text(operation.operand));
      case 'Replace': {
        const all = operation.operator === '//';
        const [pattern, by] = [this.text(operation.pattern), this.text(operation.replacement)];
        const expression = globExpression(pattern, { before: '', after: '' });
        return text.replace(new RegExp(expression.source, all ? 'gs' : 's'), () => by);
      }
      case 'Slice': {
        const start = this.number(this.text(operation.offset)) ?? 0;
        const length = operation.length && this.number(this.text(operation.length));
        return text.slice(start, length === undefined ? undefined : start + length);
      }
      case 'CaseModification': {
        const upper = operation.operator.startsWith('^');
        const change = (part: string): string => (upper ? part.toUpperCase() : part.toLowerCase());
        return operation.operator.length === 2 ? change(text) : change(text.slice(0, 1)) + text.slice(1);
      }
      case 'Transform':
      case 'Names':
      case 'Unknown':
        return unknownText(part.text);
    }
  }

  #default(part: ParameterExpansionPart, operator: string, operand: string, value: Located | undefined): string {
    const present = value !== undefined && (!operator.startsWith(':') || value.text !== '');
    if (operator.endsWith('+')) return present ? operand : '';
    if (present) return value.text;
    if (operator.endsWith('?')) {
      this.state.assume(`${part.parameter} must be given (${readable(operand)}): not known here`, this.place(part));
      return unknownText(`$${part.parameter}`);
    }
    if (operator.endsWith('=')) this.state.setText(part.parameter, operand, this.place(part));
    if (operand !== '')
      this.state.assume(`$${part.parameter} is not given: its default ${readable(operand)}`, this.place(part));
    return operand;
  }
}

export function elementsOf(variable: Variable): readonly Located[] {
  if (variable.kind === 'text') return [variable.value];
  return variable.kind === 'list' ? variable.values : [...variable.entries.values()];
}

/**
 * A glob pattern as a regular expression around `before` and `after`. A pattern that is none (an open bracket) is taken
 * word for word, as the shell does.
 */
export function globExpression(
  pattern: string,
  around: { before?: string; after?: string; shortest?: boolean } = {},
): RegExp {
  const { before = '^', after = '$', shortest = false } = around;
  const any = shortest ? '.*?' : '.*';
  const source = pattern.replaceAll(/[.+^$(){}|\\*?]/gu, (sign) =>
    sign === '*' ? any : sign === '?' ? '.' : `\\${sign}`,
  );
  try {
    return new RegExp(`${before}(?:${source})${after}`, 's');
  } catch {
    return new RegExp(`${before}(?:${source.replaceAll(/[[\]]/gu, '\\$&')})${after}`, 's');
  }
}

/** `${name#pattern}` and its kin. */
function removed(text: string, operator: string, pattern: string): string {
  const shortest = operator.length === 1;
  if (operator.startsWith('#')) return text.replace(globExpression(pattern, { after: '', shortest }), '');
  if (!shortest) return text.replace(globExpression(pattern, { before: '' }), '');
  // The shortest match at the end: as much as possible stays in front of it.
  return globExpression(pattern, { before: '^(.*)' }).exec(text)?.[1] ?? text;
}
