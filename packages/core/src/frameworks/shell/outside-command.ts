/** Programs that a script starts: a shell with a text of its own, a launcher, or a command to write down. */
import type { Assignment } from 'unbash';
import type { Expander } from './expand.js';
import type { Located } from './place.js';
import type { ShellState } from './state.js';

export const shells = /(?:^|\/)(?:ba|z|da)?sh$/u;
const stepOfQueue = /(?:^|\/)srun$/u;

/** A shell that runs a text. */
export interface InnerShell {
  readonly script: Located;
  /** What the text knows as $1 and the others. */
  readonly list: readonly Located[];
  /** What starts the shell. */
  readonly front: readonly Located[];
}

/** The shell with `-c` among a command's words, as of `bash -x -e -c`. */
export function innerShell(fields: readonly Located[]): InnerShell | undefined {
  const inner = fields.findIndex(({ text }, index) => {
    let shell = index - 1;
    while (/^-\w+$/u.test(fields[shell]?.text ?? '')) shell -= 1;
    return /^-\w*c$/u.test(text) && shells.test(fields[shell]?.text ?? '');
  });
  const script = inner < 0 ? undefined : fields[inner + 1];
  // the word behind the text is $0
  return script && { script, list: fields.slice(inner + 3), front: fields.slice(0, inner - 1) };
}

/** The queue's words, where it is its srun that starts something. */
export const queuedBy = ({ batch }: ShellState, [program]: readonly Located[]): readonly Located[] =>
  stepOfQueue.test(program?.text ?? '') ? batch : [];

/** Writes a command down, with the environment that it gets. */
export function noteCommand(
  expander: Expander,
  state: ShellState,
  fields: readonly Located[],
  prefix: readonly Assignment[],
): void {
  const environment = state.environment();
  for (const { name, value } of prefix)
    if (value.type === 'Word') environment.set(name, { text: expander.text(value), place: expander.place(value) });
  const queue = queuedBy(state, fields);
  state.commands.push({ words: fields, environment, ...(queue.length > 0 ? { startedBy: queue } : {}) });
}

/** Commands of an inner shell are started by what starts the shell: a launcher that counts ranks, say. */
export function startedBy(state: ShellState, words: readonly Located[], from: number): void {
  for (const [index, command] of state.commands.entries())
    if (index >= from && words.length > 0)
      state.commands[index] = { ...command, startedBy: [...words, ...(command.startedBy ?? [])] };
}
