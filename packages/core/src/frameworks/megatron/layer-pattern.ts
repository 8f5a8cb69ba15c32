/** Which layers have experts, as Megatron's `--moe-layer-freq` says it. */
import { limits } from '../../units/limits.js';

/** `[0]*3+[1]*58`, `([0]+[1]*3)*2`, `[0,1]` or `4` (every fourth layer has experts), as Megatron's `moe_freq_type`. */
export function moeLayersOf(text: string, layers: number): boolean[] | undefined {
  const every = Number(text);
  if (Number.isInteger(every) && every > 0) return Array.from({ length: layers }, (_, layer) => layer % every === 0);
  const pattern = listedLayers(text);
  return pattern?.length === layers ? pattern : undefined;
}

/** The layers that a list expression names; undefined for other text. */
export const listedLayers = (text: string): boolean[] | undefined => new Pattern(text.replace(/\s/gu, '')).read();

/** A sum of lists of zeros and ones with repeats, which Megatron gives to Python's `eval`. */
class Pattern {
  #at = 0;

  constructor(readonly text: string) {}

  read(): boolean[] | undefined {
    const all = this.#sum();
    return this.#at === this.text.length ? all : undefined;
  }

  #sum(): boolean[] | undefined {
    let all = this.#product();
    while (all !== undefined && this.#take('+')) {
      const next = this.#product();
      all = next === undefined || all.length + next.length > limits.layers ? undefined : [...all, ...next];
    }
    return all;
  }

  #product(): boolean[] | undefined {
    let list = this.#list();
    while (list !== undefined && this.#take('*')) {
      const count = Number(this.#match(/^\d{1,6}/u));
      if (list.length * count > limits.layers) return undefined;
      const part: readonly boolean[] = list;
      list = Array.from({ length: count }, () => part).flat();
    }
    return list;
  }

  #list(): boolean[] | undefined {
    if (this.#take('(')) {
      const inner = this.#sum();
      return this.#take(')') ? inner : undefined;
    }
    const body = this.#match(/^\[[01](,[01])*\]/u);
    return body === '' ? undefined : [...body.matchAll(/[01]/gu)].map(([digit]) => digit === '1');
  }

  #take(sign: string): boolean {
    const here = this.text[this.#at] === sign;
    if (here) this.#at += 1;
    return here;
  }

  #match(pattern: RegExp): string {
    const found = pattern.exec(this.text.slice(this.#at))?.[0] ?? '';
    this.#at += found.length;
    return found;
  }
}
