/** How tokens travel, as people write it: `auto`, `scattered`, `scattered:4/2`, `sliced+duplicated`, or a map with halves and chunks. */
import {
  didYouMean,
  InputError,
  namedStrategies,
  outgoingHalves,
  returningHalves,
  type Field,
  type OutgoingName,
  type ReturningName,
  type Strategy,
} from '@monta/core';

const names = Object.keys(namedStrategies) as (keyof typeof namedStrategies)[];
const outgoing = Object.keys(outgoingHalves) as OutgoingName[];
const returning = Object.keys(returningHalves) as ReturningName[];

/** What is meant by `pipelined` without a count: MoNTA's public code cuts into 4. */
const usualChunks = 4;
const expected = `auto, one of ${names.join(', ')}, two halves like sliced+scattered, each with chunks like scattered:4/2`;

function wordIn<T extends string>(words: readonly T[], word: string): T | undefined {
  return words.find((known) => known === word);
}

/** Halves of a name or of `outgoing+returning`. */
function halvesOf(text: string): Omit<Strategy, 'chunks'> {
  const name = wordIn(names, text);
  if (name !== undefined) return namedStrategies[name];
  const [first = '', second, ...rest] = text.split('+');
  const dispatch = wordIn(outgoing, first);
  const combine = second === undefined ? undefined : wordIn(returning, second);
  if (dispatch === undefined || combine === undefined || rest.length > 0) {
    throw new InputError(`"${text}" is not a way to dispatch`, {
      expected,
      hint: didYouMean(text, [...names, 'auto', ...outgoing.flatMap((a) => returning.map((b) => `${a}+${b}`))]),
    });
  }
  return { dispatch, combine };
}

/** Reads the text form. Throws `InputError`. */
export function parseDispatch(text: string): 'auto' | Strategy {
  if (text === 'auto') return 'auto';
  const match = /^([^:]*)(?::([1-9]\d{0,3})(?:\/([1-9]\d{0,3}))?)?$/u.exec(text);
  if (!match) throw new InputError(`"${text}" is not a way to dispatch`, { expected });
  const [, name = '', forwardText, backwardText] = match;
  const forward = forwardText === undefined ? (name === 'pipelined' ? usualChunks : 1) : Number(forwardText);
  return {
    ...halvesOf(name),
    chunks: { forward, backward: backwardText === undefined ? forward : Number(backwardText) },
  };
}

/** The text that `parseDispatch` reads back to the same. */
export function formatDispatch(dispatch: 'auto' | Strategy): string {
  if (dispatch === 'auto') return 'auto';
  const { chunks } = dispatch;
  const name =
    names.find(
      (candidate) =>
        candidate !== 'pipelined' &&
        namedStrategies[candidate].dispatch === dispatch.dispatch &&
        namedStrategies[candidate].combine === dispatch.combine,
    ) ?? `${dispatch.dispatch}+${dispatch.combine}`;
  if (chunks.forward === chunks.backward) return chunks.forward === 1 ? name : `${name}:${chunks.forward}`;
  return `${name}:${chunks.forward}/${chunks.backward}`;
}

/**
 * Reads the value of `dispatch` in a configuration: the text form, `{ strategy, chunks }` or `{ dispatch, combine, chunks }`,
 * where chunks is one number or `{ forward, backward }` (1 where left out). Throws `InputError`.
 */
export function dispatchFrom(field: Field): 'auto' | Strategy {
  if (!field.isMap) return field.parsed(() => parseDispatch(field.string()));
  const map = field.map(['strategy', 'dispatch', 'combine', 'chunks']);
  const strategy = map.get('strategy');
  if (strategy !== undefined && (map.get('dispatch') ?? map.get('combine')) !== undefined) {
    throw field.error('has a strategy and halves', { expected: 'either strategy, or dispatch and combine' });
  }
  const halves =
    strategy === undefined
      ? {
          dispatch: map.need('dispatch', expected).oneOf(outgoing),
          combine: map.need('combine', expected).oneOf(returning),
        }
      : namedStrategies[strategy.oneOf(names)];
  const chunks = map.get('chunks');
  const fallback = strategy?.value === 'pipelined' ? usualChunks : 1;
  if (chunks === undefined) return { ...halves, chunks: { forward: fallback, backward: fallback } };
  if (!chunks.isMap) {
    const count = chunks.integer();
    return { ...halves, chunks: { forward: count, backward: count } };
  }
  const counts = chunks.map(['forward', 'backward']);
  const count = (key: string) => counts.get(key)?.integer() ?? fallback;
  return { ...halves, chunks: { forward: count('forward'), backward: count('backward') } };
}
