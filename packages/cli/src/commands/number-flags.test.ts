/** Numbers that nobody means, given to every flag that takes one. */
import { InputError } from '@monta/core';
import { expect, it } from 'vitest';
import { routes } from '../app.js';
import { readTrainConfig } from '../config/train-config.js';

interface NumberFlag {
  readonly name: string;
  readonly parse: (text: string) => unknown;
  /** What follows the number. */
  readonly unit: string;
}

type Flags = Readonly<Record<string, { readonly kind: string; readonly parse?: (text: string) => unknown }>>;
interface Route {
  readonly parameters?: { readonly flags?: Flags };
  readonly getAllEntries?: () => readonly { readonly name: { readonly original: string }; readonly target: unknown }[];
}

/** Numbers of a unit that flags take, or none. */
const units = ['', ' us', ' GiB'];

function unitOf(parse: (text: string) => unknown): string | undefined {
  return units.find((unit) =>
    ['1', '0.5'].some((number) => {
      try {
        return typeof parse(number + unit) === 'number';
      } catch {
        return false;
      }
    }),
  );
}

function numberFlags(name: string, route: Route): NumberFlag[] {
  const inside = route.getAllEntries?.() ?? [];
  const own = Object.entries(route.parameters?.flags ?? {}).flatMap(([flag, { parse }]) => {
    const unit = parse === undefined || parse === String ? undefined : unitOf(parse);
    return parse === undefined || unit === undefined ? [] : [{ name: `${name} --${flag}`, parse, unit }];
  });
  return [...own, ...inside.flatMap((entry) => numberFlags(`${name} ${entry.name.original}`, entry.target as Route))];
}

const commands = await Promise.all(
  Object.entries(routes).map(async ([name, load]) => numberFlags(name, (await load()) as Route)),
);
const flags = commands.flat();
/** Checked with the rest of the configuration. */
const [ofTraining, ofOthers] = [true, false].map((train) =>
  flags.filter(({ name }) => name.startsWith('train ') === train),
) as [NumberFlag[], NumberFlag[]];

/** Of one argument, on Linux (MAX_ARG_STRLEN). */
const longestArgument = 2 ** 17;
const strange = ['1e308', '-1', 'NaN', '1e-320', '9007199254740992', 'Infinity', '', '9'.repeat(longestArgument)];

/** Nobody reads a value of megabytes. */
const longestMessage = 2000;

/** What comes of a text: a value, or `refused` with a message that people can read. */
function outcome(read: () => unknown): unknown {
  try {
    return read();
  } catch (error) {
    return error instanceof InputError && error.format().length < longestMessage ? 'refused' : error;
  }
}

it('there are flags of numbers in all commands that count something', () => {
  expect(flags.length).toBeGreaterThan(40);
  expect(new Set(flags.map(({ name }) => name.split(' ')[0]))).toEqual(
    new Set(
      'train verify plan memory simulate bench calibrate validate model convert lint trace doctor studio cluster'.split(
        ' ',
      ),
    ),
  );
});

it.each(ofOthers.map((flag) => [flag.name, flag] as const))('%s refuses what cannot be meant', (_, { parse, unit }) => {
  const taken = strange.map((number) => outcome(() => parse(number + unit))).filter((value) => value !== 'refused');
  // Times and sizes may be next to nothing; what is divided by may not.
  const least = unit === '' ? 1e-9 : 0;
  expect(taken.filter((value) => typeof value !== 'number' || value < least || value >= 1e18)).toEqual([]);
});

it.each(ofTraining.map((flag) => [flag.name, flag] as const))('%s too', (name, { parse }) => {
  const key = name.slice('train --'.length);
  // A rate of nothing is slow, not wrong.
  const given = strange.filter((number) => key !== 'lr' || number !== '1e-320');
  const outcomes = given.map((number) => outcome(() => readTrainConfig(undefined, { [key]: parse(number) })));
  expect(outcomes).toEqual(given.map(() => 'refused'));
});
