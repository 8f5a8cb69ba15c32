/** Examples in comments of the library: code that prints, and what it prints. */
import { runInNewContext } from 'node:vm';

export interface LibraryExample {
  /** Function that it is an example of. */
  readonly of: string;
  readonly code: string;
  readonly printed: readonly string[];
  /** Runs it with the library's names in scope; gives the lines that it printed. */
  readonly run: (library: Readonly<Record<string, unknown>>) => string[];
}

/** Lines of a comment without their stars. */
const bare = (comment: string): string[] => comment.split('\n').map((line) => line.replace(/^ \* ?/u, ''));

/** All examples of a source file, in order. */
export function examplesIn(source: string): LibraryExample[] {
  const commented = source.matchAll(/^\/\*\*\n([\s\S]*?)^ \*\/\nexport (?:function|const) (\w+)/gmu);
  return [...commented].flatMap(([, comment = '', of = '']) =>
    comment
      .split(' * @example\n')
      .slice(1)
      .map((part) => {
        const lines = bare(part).filter((line) => line !== '');
        const code = lines.filter((line) => !line.startsWith('// ')).join('\n');
        const printed = lines.filter((line) => line.startsWith('// ')).map((line) => line.slice(3));
        return { of, code, printed, run: (library) => runExample(code, library) };
      }),
  );
}

function runExample(code: string, library: Readonly<Record<string, unknown>>): string[] {
  const printed: string[] = [];
  const console = { log: (...values: unknown[]) => void printed.push(values.map(String).join(' ')) };
  runInNewContext(`'use strict';\n${code}`, { ...library, console });
  return printed;
}
