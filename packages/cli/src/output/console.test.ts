import { describe, expect, it } from 'vitest';
import { Console, type OutputStream } from './console.js';
import { colourWanted } from './style.js';

function memory(isTTY = false): OutputStream & { text: string } {
  return {
    text: '',
    isTTY,
    write(text: string) {
      this.text += text;
    },
  };
}

describe('Console', () => {
  it('puts results on one stream and everything else on the other', () => {
    const out = memory();
    const err = memory();
    const console = new Console(out, err, {});
    console.print('result');
    console.json({ seconds: 0.5, bound: Infinity });
    console.note('a note');
    console.warn('a warning');
    expect(out.text).toBe('result\n{\n  "seconds": 0.5,\n  "bound": null\n}\n');
    expect(err.text).toBe('note  a note\nwarning  a warning\n');
  });

  it('shows control characters of what it prints as escapes, and leaves its own colours', () => {
    const [out, err] = [memory(), memory()];
    const console = new Console(out, err, { FORCE_COLOR: '1' });
    console.print(`${console.style.bold('tensor')} a\u001b[2Jb\rc\u202e\n\tnext`);
    console.warn('\u001b]0;title\u0007');
    expect(out.text).toBe('\u001b[1mtensor\u001b[22m a\\e[2Jb\\rc\\u{202e}\n\tnext\n');
    expect(err.text).toContain('\\e]0;title\\x07\n');
  });

  it('goes on quietly when the reader has closed the pipe', () => {
    const err = memory();
    const broken: OutputStream = {
      write() {
        throw Object.assign(new Error('write EPIPE'), { code: 'EPIPE' });
      },
    };
    const console = new Console(broken, err, {});
    console.print('one');
    console.print('two');
    console.note('still here');
    expect(err.text).toContain('still here');
  });

  it('keeps other failures of the stream for the end', () => {
    const broken: OutputStream = {
      write() {
        throw Object.assign(new Error('no space'), { code: 'ENOSPC' });
      },
    };
    const console = new Console(broken, memory(), {});
    console.print('one');
    expect(console.lost?.code).toBe('ENOSPC');
  });
});

describe('colourWanted', () => {
  it.each([
    [true, {}, true],
    [false, {}, false],
    [true, { NO_COLOR: '1' }, false],
    [true, { NO_COLOR: '' }, true],
    [true, { NO_COLOR: '1', FORCE_COLOR: '1' }, false],
    [false, { FORCE_COLOR: '1' }, true],
    [true, { FORCE_COLOR: '0' }, false],
    [true, { TERM: 'dumb' }, false],
  ])('terminal %s with %o: %s', (isTerminal, env, wanted) => expect(colourWanted(isTerminal, env)).toBe(wanted));
});
