/** The command `monta`: its sub-commands, what it says about wrong usage, and how failures become exit codes. */
import {
  ArgumentScannerError,
  buildApplication,
  buildCommand,
  buildRouteMap,
  ExitCode,
  formatMessageForArgumentScannerError,
  proposeCompletions,
  run,
  text_en,
  type Application,
  type ApplicationContext,
  type Command,
  type RouteMap,
} from '@stricli/core';
import { InputError, didYouMean } from '@monta/core/units';
import { askWord } from './commands/ask-word.js';
import { briefs, type CommandName } from './commands/briefs.js';
import type { MontaContext } from './context.js';
import { describeFailure, fileError } from './errors.js';
import { overview, wrapHelp } from './help.js';
import { Console, type OutputStream } from './output/console.js';
import { createStyle } from './output/style.js';
import { asTyped } from './output/typed-command.js';

type Route = Command<MontaContext> | RouteMap<MontaContext>;

/** All sub-commands, by name, each loaded when a command line names it: none needs the modules of another. */
export const routes = {
  train: async () => (await import('./commands/train.command.js')).trainCommand,
  verify: async () => (await import('./commands/verify.command.js')).verifyCommand,
  plan: async () => (await import('./commands/plan.command.js')).planCommand,
  explain: async () => (await import('./commands/explain.command.js')).explainCommand,
  compare: async () => (await import('./commands/compare.command.js')).compareCommand,
  memory: async () => (await import('./commands/memory.command.js')).memoryCommand,
  simulate: async () => (await import('./commands/simulate.command.js')).simulateCommand,
  bench: async () => (await import('./commands/bench.command.js')).benchCommand,
  calibrate: async () => (await import('./commands/calibrate.command.js')).calibrateCommand,
  validate: async () => (await import('./commands/validate.command.js')).validateCommand,
  cluster: async () => (await import('./commands/cluster.command.js')).clusterCommand,
  model: async () => (await import('./commands/model.command.js')).modelCommand,
  convert: async () => (await import('./commands/convert.command.js')).convertCommand,
  inspect: async () => (await import('./commands/inspect.command.js')).inspectCommand,
  lint: async () => (await import('./commands/lint.command.js')).lintCommand,
  doctor: async () => (await import('./commands/doctor.command.js')).doctorCommand,
  export: async () => (await import('./commands/export.command.js')).exportCommand,
  trace: async () => (await import('./commands/trace.command.js')).traceCommand,
  studio: async () => (await import('./commands/studio.command.js')).studioCommand,
  completion: async () => (await import('./commands/completion.command.js')).completionCommand,
} satisfies Record<CommandName, () => Promise<Route>>;

type StricliProcess = ApplicationContext['process'];

const isCommand = (word: string | undefined): word is CommandName => word !== undefined && Object.hasOwn(routes, word);

/** What stands for a command that is not asked for: lists and suggestions need its name alone. */
const notAsked = (name: CommandName): Route =>
  buildCommand<object, [], MontaContext>({ func: () => {}, parameters: {}, docs: { brief: briefs[name] } });

/** All commands, of which the one that the command line names is whole. */
async function rootFor(word: string | undefined): Promise<RouteMap<MontaContext>> {
  const names = Object.keys(routes) as CommandName[];
  const all: [CommandName, Route][] = names.map((name) => [name, notAsked(name)]);
  if (isCommand(word)) all.push([word, await routes[word]()]);
  return buildRouteMap<CommandName, MontaContext>({
    routes: Object.fromEntries(all) as Record<CommandName, Route>,
    docs: {
      brief: 'Makes Mixture-of-Experts training faster by moving fewer bytes over slow links and hiding the rest',
    },
  });
}

/** Whether a person asks for the first page of help. */
const asksOverview = ([first, ...rest]: readonly string[]): boolean =>
  rest.length === 0 && (first === undefined || ['help', '--help', '-h'].includes(first));

/** `monta help plan` is `monta plan --help`. */
const asked = (inputs: readonly string[]): readonly string[] =>
  inputs[0] === 'help' ? [...inputs.slice(1), '--help'] : inputs;

/** What the application needs of the process it runs in; tests pass their own. */
export interface Surroundings {
  readonly stdout: OutputStream;
  readonly stderr: OutputStream;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** What the person types to start it, in messages that tell them to (`typedCommand`); default: `monta`. */
  readonly command?: string;
}

const asFlag = (name: string): string => `--${name.replace(/^-+/u, '')}`;
/** A flag as help writes it, of the name that it has in the code. */
const asWritten = (name: string): string => asFlag(name).replaceAll(/[A-Z]/gu, (letter) => `-${letter.toLowerCase()}`);

/** What is wrong with flags and arguments. */
const usageProblem = (error: ArgumentScannerError): string =>
  formatMessageForArgumentScannerError(error, {
    FlagNotFoundError: ({ input, corrections }) =>
      `there is no flag ${asFlag(input)}` +
      (corrections.length === 0 ? '' : `, did you mean ${corrections.map(asWritten).join(' or ')}?`),
    EnumValidationError: ({ externalFlagName, input, values }) =>
      `--${externalFlagName}: "${input}" is not one of ${values.join(', ')}`,
    ArgumentParseError: ({ externalFlagNameOrPlaceholder, exception }) =>
      `--${externalFlagNameOrPlaceholder}: ` +
      (exception instanceof InputError
        ? exception.format()
        : exception instanceof Error
          ? exception.message
          : String(exception)),
  });

/** The commands, and what they say when they fail. */
function applicationOf(
  root: RouteMap<MontaContext>,
  console: Console,
  version: string,
  env: Surroundings['env'],
): Application<MontaContext> {
  const names = Object.keys(routes);
  const styleOf = (colour: boolean) => (colour ? console.errorStyle : createStyle(false));
  const describe = (error: unknown, colour: boolean) => describeFailure(error, styleOf(colour), env).text;
  const noCommand = (input: string): InputError =>
    new InputError(`there is no command "${input}"`, {
      expected: `one of ${names.join(', ')}`,
      hint: didYouMean(input, names),
    });
  return buildApplication<MontaContext>(root, {
    name: 'monta',
    versionInfo: { currentVersion: version },
    scanner: { caseStyle: 'allow-kebab-for-camel' },
    documentation: { useAliasInUsageLine: true, onlyRequiredInUsageLine: true, disableAnsiColor: true },
    localization: {
      text: {
        ...text_en,
        noCommandRegisteredForInput: ({ input, ansiColor }) => describe(noCommand(input), ansiColor),
        exceptionWhileParsingArguments: (error, ansiColor) =>
          error instanceof ArgumentScannerError
            ? `${styleOf(ansiColor).bad(usageProblem(error))}\n  monta help <command> explains`
            : describe(error, ansiColor),
        exceptionWhileLoadingCommandFunction: describe,
        exceptionWhileLoadingCommandContext: describe,
        exceptionWhileRunningCommand: describe,
        commandErrorResult: describe,
      },
    },
    determineExitCode: (error) => describeFailure(error, createStyle(false), env).exitCode,
  });
}

/** Runs one command line (without `node` and the script) and returns the exit code: 0, 1, 2 or 130. */
export async function runMonta(
  inputs: readonly string[],
  version: string,
  { stdout, stderr, env, command = 'monta' }: Surroundings,
): Promise<number> {
  const names = Object.keys(routes);
  const console = new Console(stdout, stderr, env, (text) => asTyped(text, { command, names }));
  if (asksOverview(inputs)) {
    console.print(overview(briefs));
    return 0;
  }
  const [first, second] = asked(inputs);
  const root = await rootFor(first === askWord ? second : first);
  const application = applicationOf(root, console, version, env);
  const process: StricliProcess = {
    // Only help and the version come this way: commands print on the console.
    stdout: { write: (text) => console.write(wrapHelp(text)) },
    stderr: { write: (text) => console.printError(console.typed(text.endsWith('\n') ? text : `${text}\n`)) },
    env,
  };
  const context = { process, console, env };
  if (inputs[0] === askWord) {
    const found = await proposeCompletions(application, inputs.slice(1), context);
    console.write(found.map(({ completion }) => `${completion}\n`).join(''));
    return 0;
  }
  await run(application, asked(inputs), context);
  // A stream tells of its failure a turn later.
  await new Promise((resolve) => setImmediate(resolve));
  if (console.lost !== undefined) {
    const failure = describeFailure(fileError(console.lost, 'standard output'), console.errorStyle, env);
    console.printError(`${failure.text}\n`);
    return failure.exitCode;
  }
  return exitCodeOf(Number(process.exitCode ?? ExitCode.Success));
}

/** Stricli's own codes are negative: wrong usage counts as bad input, the rest as a failed run. */
function exitCodeOf(code: number): number {
  if (code >= 0) return code;
  return code === ExitCode.UnknownCommand || code === ExitCode.InvalidArgument ? 2 : 1;
}
