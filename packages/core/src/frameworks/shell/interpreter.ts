/**
 * Reads a launch script the way the shell would, without running anything: what it assigns, decides and calls is
 * followed as far as the text decides it, and what only a running machine knows is assumed, in words.
 */
import {
  parse,
  type ArithmeticExpression,
  type ArithmeticFor,
  type Assignment,
  type Case,
  type Command,
  type CompoundList,
  type For,
  type If,
  type ParsedScript,
  type PipelineNode,
  type Statement,
  type While,
  type AndOr,
  type Word,
} from 'unbash';
import { arithmetic } from './arithmetic.js';
import { truthOf, type Truth } from './conditions.js';
import { assign, declare } from './assign.js';
import { assignedIn } from './assigned-in.js';
import { batchVariables, batchWords } from './batch-header.js';
import { Expander, globExpression } from './expand.js';
import { knownOutput } from './known-output.js';
import type { Located, Source } from './place.js';
import { withoutPlaceholders } from './placeholders.js';
import { innerShell, noteCommand, queuedBy, shells, startedBy } from './outside-command.js';
import { plainBuiltin } from './plain-builtins.js';
import { Printed } from './printed.js';
import { printInto } from './printf-builtin.js';
import { readInto } from './read-builtin.js';
import { isUnknown, readable, unknownText, type DefinedFunction, type ShellState } from './state.js';

const loopLimit = 1000;
const declarations = new Set(['export', 'declare', 'local', 'readonly', 'typeset']);
/** Files that set up a machine or a container, and no flags. */
const ofTheMachine = /conda|profile|bashrc|activate|setvars|set_env|modules?\b/iu;
const queues = /(?:^|\/)(?:sbatch|qsub|bsub)$/u;

/** Thrown by nothing outside: `break`, `continue`, `return` leave the statements they stand in. */
type Leave = 'break' | 'continue' | 'return' | 'exit';

export class Interpreter {
  readonly #expander: Expander;
  readonly #printed = new Printed();
  #leaving: Leave | undefined;
  /** Conditions, loops and functions around the statement at hand. */
  #nesting = 0;

  constructor(
    readonly state: ShellState,
    readonly source: Source,
  ) {
    this.#expander = new Expander(state, source, (script) => this.#substitute(script));
  }

  run(script: ParsedScript): void {
    this.#statements(script.commands);
  }

  #statements(statements: readonly Statement[]): Truth {
    let status: Truth = true;
    for (const statement of statements) {
      if (this.#leaving !== undefined || !this.state.spend(this.#expander.place(statement))) break;
      status = this.#node(statement.command);
    }
    return status;
  }

  #inside(list: CompoundList): Truth {
    this.#nesting += 1;
    const status = this.#statements(list.commands);
    this.#nesting -= 1;
    return status;
  }

  #node(node: PipelineNode | AndOr): Truth {
    switch (node.type) {
      case 'AndOr':
        return this.#andOr(node);
      case 'Pipeline': {
        const status = node.commands.map((command) => this.#node(command)).at(-1);
        const negated = node.prefixes.filter(({ type }) => type === 'Negation').length % 2 === 1;
        return negated && status !== undefined ? !status : status;
      }
      case 'Command':
        return this.#command(node);
      case 'If':
        return this.#if(node);
      case 'For':
        return this.#for(node);
      case 'While':
        return this.#while(node);
      case 'Case':
        return this.#case(node);
      case 'Subshell':
      case 'BraceGroup':
        return this.#inside(node.body);
      case 'TestCommand':
        return truthOf(node.expression, this.#expander);
      case 'ArithmeticCommand': {
        const value = this.#calculate(node.expression, node);
        return value === undefined ? undefined : value !== 0;
      }
      case 'Redirected':
        return this.#node(node.command);
      case 'Function':
        this.state.functions.set(node.name.value, { node, source: this.source });
        return true;
      case 'ArithmeticFor':
        return this.#countedFor(node);
      case 'Select':
      case 'Coproc':
        this.state.assume(`the ${node.type} at this place is not followed`, this.#expander.place(node));
        return undefined;
    }
  }

  #andOr({ commands, operators }: AndOr): Truth {
    let status: Truth = true;
    commands.forEach((command, index) => {
      if (index > 0) {
        const operator = operators[index - 1];
        // What can't be decided goes the way a run that works goes: on, and not into the `|| exit 1` behind it.
        if (operator === '&&' ? status === false : status !== false) return;
      }
      this.#nesting += index > 0 ? 1 : 0;
      status = this.#node(command);
      this.#nesting -= index > 0 ? 1 : 0;
    });
    return status;
  }

  #if(node: If): Truth {
    const open: CompoundList[] = [];
    const settle = (list: CompoundList | undefined): Truth => {
      const status = list === undefined ? true : this.#inside(list);
      for (const branch of open) this.#leaveUnknown(branch);
      return status;
    };
    for (const { clause, then } of [node, ...node.elif]) {
      const truth = this.#statements(clause.commands);
      if (truth === true) return settle(then);
      if (truth !== undefined) continue;
      open.push(then);
      this.state.assume(
        `the condition "${this.source.text.slice(clause.pos, clause.end).trim()}" depends on the machine: taken ` +
          'as false',
        this.#expander.place(clause),
      );
    }
    return settle(node.else);
  }

  /** Variables that a branch would set, of which nothing else says the value: it is not known, rather than empty. */
  #leaveUnknown(branch: CompoundList): void {
    for (const { name, node } of assignedIn(branch))
      if (!this.state.variables.has(name))
        this.state.setText(name, unknownText(`$${name}`), this.#expander.place(node));
  }

  #for(node: For): Truth {
    const values = node.wordlist === undefined ? this.state.positional : this.#expander.fields(node.wordlist);
    const list = node.wordlist?.map(({ text }) => text).join(' ') ?? '$@';
    if (values.length === 0 && /\$[@*]|\$\{[@*]/u.test(list)) this.#leaveUnknown(node.body);
    for (const value of values.slice(0, loopLimit)) {
      this.state.set(node.name.value, { kind: 'text', value });
      this.#inside(node.body);
      if (this.#left('break')) break;
    }
    return true;
  }

  #calculate(expression: ArithmeticExpression | undefined, node: { pos: number; end: number }): number | undefined {
    if (expression === undefined) return undefined;
    const place = this.#expander.place(node);
    return arithmetic(
      expression,
      (text) => this.#expander.number(text),
      (name, result) => this.state.setText(name, String(result), place),
    );
  }

  /** `for ((i = 0; i < 8; i++))`. */
  #countedFor(node: ArithmeticFor): Truth {
    this.#calculate(node.initialize, node);
    for (let turn = 0; turn < loopLimit; turn++) {
      const truth = node.test === undefined ? 1 : this.#calculate(node.test, node);
      if (truth === undefined || truth === 0) break;
      this.#inside(node.body);
      if (this.#left('break')) break;
      this.#calculate(node.update, node);
    }
    return true;
  }

  #while(node: While): Truth {
    for (let turn = 0; turn < loopLimit; turn++) {
      const truth = this.#statements(node.clause.commands);
      // a loop over arguments that are not given: they may set what it sets
      const asked = this.source.text.slice(node.clause.pos, node.clause.end);
      if (turn === 0 && this.state.positional.length === 0 && asked.includes('$#')) this.#leaveUnknown(node.body);
      if (truth === undefined || truth === (node.kind === 'until')) break;
      this.#inside(node.body);
      if (this.#left('break')) break;
    }
    return true;
  }

  /**
   * True when the statements around are left; what ends here (`break`, `return`) has then done so, and a `continue`
   * goes on.
   */
  #left(what: Leave): boolean {
    if (this.#leaving === 'continue') this.#leaving = undefined;
    if (this.#leaving === undefined) return false;
    if (this.#leaving === what) this.#leaving = undefined;
    return true;
  }

  #case(node: Case): Truth {
    const text = this.#expander.text(node.word);
    const place = this.#expander.place(node.word);
    if (isUnknown(text)) {
      this.state.assume(`case ${readable(text)} depends on the machine: no branch taken`, place);
      for (const { body } of node.items) this.#leaveUnknown(body);
      return undefined;
    }
    const item = node.items.find(({ pattern }) =>
      pattern.some((word) => globExpression(this.#expander.text(word)).test(text)),
    );
    return item === undefined ? true : this.#inside(item.body);
  }

  #command(node: Command): Truth {
    const words = [...(node.name ? [node.name] : []), ...node.args.filter((a): a is Word => a.type === 'Word')];
    const fields = this.#expander.fields(words);
    const prefix = node.prefix.filter((part): part is Assignment => part.type === 'Assignment');
    const [program] = fields;
    if (program === undefined) {
      for (const assignment of prefix) assign(this.#expander, assignment);
      return true;
    }
    const assignments = node.args.filter((part): part is Assignment => part.type === 'Assignment');
    if (declarations.has(program.text)) {
      declare(this.#expander, program.text, fields.slice(1), assignments);
      return true;
    }
    return this.#read(node, fields, prefix) ?? this.#hereScript(node, fields) ?? this.#call(fields, prefix);
  }

  /** `IFS=, read -r A B <<< "$TEXT"`. */
  #read({ redirects }: Command, fields: readonly Located[], prefix: readonly Assignment[]): Truth {
    const here = redirects.find((redirect) => redirect.type === 'HereString');
    if (fields[0]?.text !== 'read' || here?.target === undefined) return undefined;
    const separators = prefix.find(({ name }) => name === 'IFS')?.value;
    const signs = separators?.type === 'Word' ? this.#expander.text(separators) : undefined;
    const text = { text: this.#expander.text(here.target), place: this.#expander.place(here.target) };
    readInto(this.state, fields.slice(1), text, signs);
    return true;
  }

  /** A script behind `<<`, given to a shell or to a queue, is followed; the text of others is written down. */
  #hereScript(node: Command, fields: readonly Located[]): Truth {
    const here = node.redirects.find((redirect) => redirect.type === 'HereDoc');
    const { body } = here ?? {};
    const [program, ...rest] = fields;
    const into = node.redirects
      .filter((one) => one.type === 'Redirect')
      .find(({ operator }) => operator === '>')?.target;
    if (body !== undefined && into !== undefined && program?.text === 'cat') {
      const file = this.#expander.text(into);
      this.state.written.set(file, here?.delimiter?.quoted === true ? body.text : this.#expander.here(body));
      return true;
    }
    const takes = queues.test(program?.text ?? '') || shells.test(fields.at(-1)?.text ?? '');
    if (body === undefined || program === undefined || !takes) return undefined;
    if (rest.some(({ text }) => /\.\w*sh$/u.test(text))) return undefined;
    const text = here?.delimiter?.quoted === true ? body.text : this.#expander.here(body);
    const before = this.state.commands.length;
    const batch = batchWords({ file: this.source.file, text });
    const outer = this.state.batch;
    this.state.batch = batch;
    for (const [name, value] of Object.entries(batchVariables(batch)))
      this.state.setText(name, value, this.#expander.place(body));
    this.#text({ text, place: this.#expander.place(body) });
    this.state.batch = outer;
    startedBy(this.state, fields, before);
    return true;
  }

  #call(fields: readonly Located[], prefix: readonly Assignment[]): Truth {
    const [{ text: program, place }, ...rest] = fields as [Located, ...Located[]];
    const texts = rest.map(({ text }) => text);
    const defined = this.state.functions.get(program);
    if (defined !== undefined) return this.#callFunction(defined, rest);
    const known = plainBuiltin(this.state, program, rest);
    if (known !== undefined) return known.status;
    switch (program) {
      case 'break':
      case 'continue':
      case 'return':
        this.#leaving = program;
        return true;
      case 'exit':
        if (this.#nesting === 0) this.#leaving = 'exit';
        else this.state.assume('the script would end here with what is given: read on all the same', place);
        return true;
      case 'echo':
      case 'printf':
        if (texts[0] === '-v') printInto(this.state, texts, place);
        else this.#printed.print(program, texts);
        return true;
      case 'source':
      case '.':
        return this.#sourceFile(rest);
      case 'eval':
        return this.#text({ text: texts.join(' '), place });
      default:
        return this.#external(fields, prefix);
    }
  }

  #callFunction({ node, source }: DefinedFunction, list: readonly Located[]): Truth {
    let status: Truth = true;
    this.state.withArguments(list, () => {
      const inner = source === this.source ? this : new Interpreter(this.state, source);
      status = node.body.type === 'CompoundList' ? inner.#inside(node.body) : inner.#node(node.body);
    });
    this.#left('return');
    return status;
  }

  /** A program. A shell with `-c`, whoever starts it, is followed into its text. */
  #external(fields: readonly Located[], prefix: readonly Assignment[]): Truth {
    const shell = innerShell(fields);
    if (shell !== undefined) {
      const before = this.state.commands.length;
      this.state.withArguments(shell.list, () => this.#text(shell.script));
      startedBy(this.state, [...queuedBy(this.state, shell.front), ...shell.front], before);
    } else if (!this.#printed.byProgram()) noteCommand(this.#expander, this.state, fields, prefix);
    return true;
  }

  /** A text that is a script itself. */
  #text({ text, place }: Located): Truth {
    if (isUnknown(text) && !/\s/u.test(text)) return undefined;
    const source: Source = { file: place.source.file, text };
    const inner = new Interpreter(this.state, source);
    const before = this.state.commands.length;
    inner.run(parse(text));
    // Words keep the line of the text that they came from.
    for (const [index, command] of this.state.commands.entries())
      if (index >= before)
        this.state.commands[index] = {
          ...command,
          words: command.words.map((word) => (word.place.source === source ? { ...word, place } : word)),
        };
    return true;
  }

  #sourceFile([file]: readonly Located[]): Truth {
    if (file === undefined) return true;
    // of a folder that only the machine knows the rest of the path is enough
    const path = file.text.slice(file.text.lastIndexOf('\uE001') + 1);
    const text = path === '' ? undefined : this.state.readFile(path);
    if (text === undefined) {
      this.state.assume(`${readable(file.text)} is not read: give it too if it sets flags`, file.place);
      if (!ofTheMachine.test(file.text)) this.state.unread = readable(file.text).split('/').at(-1);
      return undefined;
    }
    const inner = new Interpreter(this.state, { file: file.text, text });
    this.state.withArguments(this.state.positional, () => inner.run(parse(withoutPlaceholders(text))));
    return true;
  }

  /** What `$(…)` prints: echo, and a few programs whose output their arguments decide. */
  #substitute(script: ParsedScript): string | undefined {
    const only = script.commands.length === 1 ? script.commands[0]?.command : undefined;
    const known = only?.type === 'Command' ? knownOutput(this.#expander, only) : undefined;
    if (known !== undefined) return known;
    return this.#printed.capture(() => {
      this.#nesting += 1;
      const separators = this.state.variables.get('IFS');
      this.#statements(script.commands);
      // what runs in a shell of its own sets no separators here
      if (separators === undefined) this.state.variables.delete('IFS');
      else this.state.set('IFS', separators);
      this.#nesting -= 1;
    });
  }
}
