/** Reads a launch script: which commands it runs, with which arguments and environment, without running it. */
import { parse } from 'unbash';
import { batchVariables, batchWords } from './batch-header.js';
import { Interpreter } from './interpreter.js';
import type { Located, Source } from './place.js';
import { withoutPlaceholders } from './placeholders.js';
import { ShellState, type Assumption, type RunCommand } from './state.js';

export interface LaunchScript {
  /** In the order in which the script runs them. */
  readonly commands: readonly RunCommand[];
  /** What was taken for granted, because only a running machine knows it. */
  readonly assumptions: readonly Assumption[];
  /** Texts of files that the script writes itself, by their paths. */
  readonly written?: ReadonlyMap<string, string>;
}

export interface LaunchScriptOptions {
  /** Variables of the environment that the script starts with, as `NNODES=4`. */
  readonly variables?: Readonly<Record<string, string>>;
  /** Arguments of the script ($1 …). */
  readonly arguments?: readonly string[];
  /** The text of a file that the script sources, or undefined. */
  readonly readFile?: (path: string) => string | undefined;
}

/**
 * Follows a script, or a bare list of arguments, as far as its text decides what happens. Never throws: what can't be
 * followed is assumed.
 */
export function readLaunchScript(source: Source, options: LaunchScriptOptions = {}): LaunchScript {
  const state = new ShellState(options.readFile ?? (() => undefined));
  const place = { source: { file: 'the environment given', text: '' }, start: 0, end: 0 };
  state.batch = batchWords(source);
  for (const [name, text] of Object.entries({ ...batchVariables(state.batch), ...options.variables })) {
    state.setText(name, text, place);
    state.exported.add(name);
  }
  const script = parse(withoutPlaceholders(source.text));
  for (const { message, pos } of script.errors ?? [])
    state.assume(`not shell syntax: ${message}`, { source, start: pos, end: pos + 1 });
  const list: Located[] = (options.arguments ?? []).map((text) => ({ text, place }));
  state.withArguments(list, () => new Interpreter(state, source).run(script));
  return { commands: state.commands, assumptions: state.assumptions, written: state.written };
}
