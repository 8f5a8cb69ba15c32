/**
 * Collects the fields that a word expands to: quoted text joins the field it touches, unquoted text is split at white
 * space.
 */
import type { Located, Place } from './place.js';

export class Fields {
  readonly list: Located[] = [];
  #text: string | undefined;
  #place: Place;

  /** `place` is where the word stands; fields of variables get that of the variable. */
  constructor(readonly word: Place) {
    this.#place = word;
  }

  /** Text in quotes, or without anything to split. */
  join(text: string, place: Place = this.word): void {
    if (this.#text === undefined || this.#text === '') this.#place = place;
    this.#text = (this.#text ?? '') + text;
  }

  /** The value of an unquoted expansion. */
  split({ text, place }: Located): void {
    const parts = text.split(/[ \t\n]+/u);
    parts.forEach((part, index) => {
      if (index > 0) this.end();
      if (part !== '') this.join(part, place);
    });
  }

  /** The elements of a list: each a field of its own; the first joins what stands before. */
  elements(values: readonly Located[], quoted: boolean): void {
    values.forEach((value, index) => {
      if (index > 0) this.end();
      if (quoted) this.join(value.text, value.place);
      else this.split(value);
    });
  }

  /** Closes the field that is open. */
  end(): void {
    if (this.#text !== undefined) this.list.push({ text: this.#text, place: this.#place });
    this.#text = undefined;
    this.#place = this.word;
  }
}
