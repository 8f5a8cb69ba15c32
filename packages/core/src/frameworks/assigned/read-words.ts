/** What the words of a command set: `model.expert_model_parallel_size=8`, `--parallelism.tensor_parallel_degree 8`. */
import type { Located } from '../shell/place.js';
import { valueOfText, type Assignment } from './assignment.js';

/** Hydra's marks in front: `+` and `++` add, `~` takes away. The precision stands outside of all sections. */
const override = /^(\+{0,2}|~)([A-Za-z_]\w*(?:\.\w+)+|mixed_precision)(?:=([\s\S]*))?$/u;

/** Overrides as Megatron-Bridge and NeMo take them. */
export function overridesOf(words: readonly Located[]): Assignment[] {
  return words.flatMap(({ text, place }): Assignment[] => {
    const [, mark, key = '', value] = override.exec(text) ?? [];
    if (mark === undefined || (value === undefined && mark !== '~')) return [];
    return [{ key, value: value === undefined ? null : valueOfText(value, 'text'), at: { text: key, place } }];
  });
}

const dotted = /^--([A-Za-z_][\w-]*(?:\.[\w-]+)+)(?:=([\s\S]*))?$/u;

/** Flags with dots, as torchtitan takes them; one without a value is a switch, which `no` before its name turns. */
export function dottedFlagsOf(words: readonly Located[]): Assignment[] {
  return words.flatMap(({ text, place }, index): Assignment[] => {
    const [, name, inline] = dotted.exec(text) ?? [];
    if (name === undefined) return [];
    const key = name.replaceAll('-', '_');
    const next = words[index + 1]?.text;
    const value = inline ?? (next === undefined || next.startsWith('--') ? undefined : next);
    if (value !== undefined) return [{ key, value: valueOfText(value, 'text'), at: { text, place } }];
    const off = /\.no_([^.]+)$/u.exec(key)?.[1];
    const switched = off === undefined ? key : `${key.slice(0, key.lastIndexOf('.'))}.${off}`;
    return [{ key: switched, value: off === undefined, at: { text, place } }];
  });
}

/** Flags with underscores and their values, as ms-swift takes them; several values are a list. */
export function plainFlagsOf(words: readonly Located[]): Assignment[] {
  return words.flatMap(({ text, place }, index): Assignment[] => {
    const [, key] = /^--([a-z]\w*)$/u.exec(text) ?? [];
    if (key === undefined) return [];
    const end = words.findIndex((word, at) => at > index && word.text.startsWith('--'));
    const values = words.slice(index + 1, end < 0 ? undefined : end).map((word) => valueOfText(word.text, 'text'));
    return [{ key, value: values.length > 1 ? values : (values[0] ?? true), at: { text, place } }];
  });
}
