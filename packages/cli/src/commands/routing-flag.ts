/** How tokens spread over experts, as commands are told. */
import type { Routing } from '@monta/core';
import { InputError } from '@monta/core/units';
import { readRecordedRouting } from '@monta/core/routing/recordings';
import { readTextFile } from '../files.js';

/** At which practically all tokens go to one expert. */
const mostExponent = 20;

const expected =
  `uniform, zipf:EXPONENT (like zipf:1.2, at most ${mostExponent}), group-limited=4/8 (4 of 8 groups), ` +
  'or recorded=FILE';

/** `uniform`, `zipf:1.2`, `group-limited=4/8` or `recorded=FILE`. Throws `InputError`, for what the file holds too. */
function parseRouting(text: string): Routing {
  if (text === 'uniform') return { kind: 'uniform' };
  const zipf = /^zipf:(\d+(?:\.\d+)?)$/u.exec(text);
  if (zipf && Number(zipf[1]) <= mostExponent) return { kind: 'zipf', exponent: Number(zipf[1]) };
  const limited = /^group-limited=([1-9]\d{0,4})\/([1-9]\d{0,4})$/u.exec(text);
  if (limited) return { kind: 'group-limited', chosen: Number(limited[1]), groups: Number(limited[2]) };
  const file = /^recorded=(.+)$/su.exec(text)?.[1];
  if (file !== undefined) return readRecordedRouting(readTextFile(file), file);
  throw new InputError(`"${text}" is not a routing`, { expected });
}

/** The flag, to be spread into a command's. */
export const routingFlag = (brief = 'How tokens spread over experts') =>
  ({
    kind: 'parsed',
    parse: parseRouting,
    placeholder: 'uniform|zipf:s|group-limited=m/g|recorded=file',
    brief,
    default: 'uniform',
  }) as const;
