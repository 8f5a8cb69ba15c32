import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { InputError } from '@monta/core';
import { describeFailure, fileError, Interrupted } from './errors.js';
import { createStyle } from './output/style.js';

const plain = createStyle(false);
const describePlain = (error: unknown, env = {}) => describeFailure(error, plain, env);

function thrownBy(action: () => unknown): unknown {
  try {
    action();
  } catch (error) {
    return error;
  }
  throw new Error('nothing was thrown');
}

describe('describeFailure', () => {
  it('prints bad input with place, expectation and hint, exit code 2', () => {
    const error = new InputError('"200 Gpbs" is not a bandwidth', {
      file: 'cluster.yaml',
      line: 5,
      column: 52,
      path: 'tiers[1].bandwidth',
      expected: 'a number with bytes or bits a second, like 25 GB/s or 200 Gbps',
      hint: 'did you mean 200 Gbps?',
    });
    expect(describePlain(error)).toEqual({
      exitCode: 2,
      text: [
        'cluster.yaml:5:52  tiers[1].bandwidth: "200 Gpbs" is not a bandwidth',
        '  expected a number with bytes or bits a second, like 25 GB/s or 200 Gbps',
        '  did you mean 200 Gbps?',
      ].join('\n'),
    });
  });

  it('says which file is missing and what to do', () => {
    const { text, exitCode } = describePlain(thrownBy(() => readFileSync('no/such/cluster.yaml')));
    expect(exitCode).toBe(2);
    expect(text).toBe(
      'no/such/cluster.yaml  there is no such file or folder\n  check the path; relative paths start at the current folder',
    );
  });

  it('names the run failure and its reasons without a stack, exit code 1', () => {
    class RankFailure extends Error {
      override readonly name = 'RankFailure';
    }
    const error = new RankFailure('rank 3 ended during step 17', { cause: new Error('out of memory') });
    expect(describePlain(error)).toEqual({
      exitCode: 1,
      text: 'RankFailure: rank 3 ended during step 17\n  because out of memory',
    });
    expect(describePlain(error, { MONTA_DEBUG: '1' }).text).toContain('errors.test');
  });

  it('owns up to its own faults', () => {
    expect(describePlain(new TypeError('x is not a function')).text).toContain('a fault in Monta');
  });

  it('ends with 130 after Ctrl-C, and survives things that are no errors', () => {
    expect(describePlain(new Interrupted()).exitCode).toBe(130);
    expect(describePlain('just text')).toEqual({ text: 'just text', exitCode: 1 });
  });
});

describe('fileError', () => {
  it.each(['ENOENT', 'EACCES', 'ENOSPC', 'EISDIR', 'EROFS', 'EDQUOT'])(
    'turns %s into bad input with advice',
    (code) => {
      const error = fileError(Object.assign(new Error(code), { code, syscall: 'write' }), 'runs/a/metrics.jsonl');
      expect(error).toBeInstanceOf(InputError);
      expect((error as InputError).format()).toMatch(/^runs\/a\/metrics\.jsonl {2}.+\n {2}.+/u);
    },
  );

  it('leaves other errors alone', () => {
    const error = new Error('something else');
    expect(fileError(error, 'x')).toBe(error);
  });
});
