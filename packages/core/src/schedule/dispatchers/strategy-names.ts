/** The one home of what strategies are called: how they are shown, and how people write them. */
import { InputError, didYouMean, limits } from '../../units/index.js';
import type { Field } from '../../units/documents/index.js';
import {
  allHalves,
  namedStrategies,
  outgoingHalves,
  pipelinedChunks,
  returningHalves,
  type Halves,
  type Strategy,
  type StrategyName,
} from './strategies.js';

type Chunks = Strategy['chunks'];

const names = Object.keys(namedStrategies) as StrategyName[];

/**
 * `duplicated`, `sliced`, `scattered`, or `sliced+duplicated`; `sliced` in chunks, the field's `pipelined`, is told
 * apart by its chunks alone.
 */
export function halvesName({ dispatch, combine }: Halves): string {
  const named = names.find(
    (name) =>
      name !== 'pipelined' && namedStrategies[name].dispatch === dispatch && namedStrategies[name].combine === combine,
  );
  return named ?? `${dispatch}+${combine}`;
}

/** As `halvesName`, and `pipelined` for `sliced` in chunks. */
export function strategyName(strategy: Strategy): string {
  const { forward, backward } = strategy.chunks;
  const name = halvesName(strategy);
  return name === 'sliced' && (forward > 1 || backward > 1) ? 'pipelined' : name;
}

/** What follows a name: nothing, `, 4 chunks`, or `, 4 / 2 chunks`, forward first. */
export function chunksText({ forward, backward }: Chunks): string {
  if (forward === 1 && backward === 1) return '';
  return `, ${forward === backward ? forward : `${forward} / ${backward}`} chunks`;
}

/** As `scattered, 4 / 2 chunks`. */
export const strategyLabel = (strategy: Strategy): string => `${strategyName(strategy)}${chunksText(strategy.chunks)}`;

const expected = `auto, one of ${names.join(', ')}, halves like sliced+scattered, each with chunks like scattered:4/2`;

function wordIn<T extends string>(words: readonly T[], word: string): T | undefined {
  return words.find((known) => known.toLowerCase() === word.toLowerCase());
}

/** Halves of a name or of `outgoing+returning`. */
function halvesOf(text: string): Halves {
  const name = wordIn(names, text);
  if (name !== undefined) return namedStrategies[name];
  const [first = '', second, ...rest] = text.split('+');
  const dispatch = wordIn(outgoingHalves.names, first);
  const combine = second === undefined ? undefined : wordIn(returningHalves.names, second);
  if (dispatch === undefined || combine === undefined || rest.length > 0) {
    throw new InputError(`"${text}" is not a way to dispatch`, {
      expected,
      hint: didYouMean(text, [...names, 'auto', ...allHalves().map(({ dispatch: a, combine: b }) => `${a}+${b}`)]),
    });
  }
  return { dispatch, combine };
}

/** Reads the text form, in any case: `auto`, `scattered`, `scattered:4/2`, `sliced+duplicated`. Throws `InputError`. */
export function parseDispatch(text: string): 'auto' | Strategy {
  if (text.toLowerCase() === 'auto') return 'auto';
  const match = /^([^:]*)(?::([1-9]\d{0,3})(?:\/([1-9]\d{0,3}))?)?$/u.exec(text);
  if (!match) throw new InputError(`"${text}" is not a way to dispatch`, { expected });
  if (match.slice(2).some((count) => Number(count ?? 1) > limits.chunks))
    throw new InputError(`"${text}" has too many chunks`, { expected: `1 to ${limits.chunks}` });
  const [, name = '', forwardText, backwardText] = match;
  if (name.toLowerCase() === 'auto')
    throw new InputError(`"${text}": auto chooses the chunks too`, {
      expected: 'auto, or a way with chunks of its own',
    });
  const forward =
    forwardText === undefined ? (name.toLowerCase() === 'pipelined' ? pipelinedChunks : 1) : Number(forwardText);
  return {
    ...halvesOf(name),
    chunks: { forward, backward: backwardText === undefined ? forward : Number(backwardText) },
  };
}

/** The text that `parseDispatch` reads back to the same. */
export function formatDispatch(dispatch: 'auto' | Strategy): string {
  if (dispatch === 'auto') return 'auto';
  const name = halvesName(dispatch);
  const { forward, backward } = dispatch.chunks;
  if (forward === backward) return forward === 1 ? name : `${name}:${forward}`;
  return `${name}:${forward}/${backward}`;
}

/**
 * Reads the value of `dispatch` in a configuration: the text form, `{ strategy, chunks }` or `{ dispatch, combine,
 * chunks }`, where chunks is one number or `{ forward, backward }` (1 where left out). Throws `InputError`.
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
          dispatch: map.need('dispatch', expected).oneOf(outgoingHalves.names),
          combine: map.need('combine', expected).oneOf(returningHalves.names),
        }
      : namedStrategies[strategy.oneOf(names)];
  const chunks = map.get('chunks');
  const fallback = strategy?.value === 'pipelined' ? pipelinedChunks : 1;
  if (chunks === undefined) return { ...halves, chunks: { forward: fallback, backward: fallback } };
  if (!chunks.isMap) {
    const count = chunks.integer({ max: limits.chunks });
    return { ...halves, chunks: { forward: count, backward: count } };
  }
  const counts = chunks.map(['forward', 'backward']);
  const count = (key: string) => counts.get(key)?.integer({ max: limits.chunks }) ?? fallback;
  return { ...halves, chunks: { forward: count('forward'), backward: count('backward') } };
}
