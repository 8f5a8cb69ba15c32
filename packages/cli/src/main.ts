/**
 * Runs the command `monta` in this process: the real streams, the exit code. Ctrl-C ends it at once, as it ends any
 * program that does not listen for it; commands that have something to wind up listen while they do.
 */
import { readFileSync } from 'node:fs';
import process from 'node:process';
import { runMonta } from './app.js';
import { optimizeLater } from './engine.js';
import { describeFailure } from './errors.js';
import { createStyle } from './output/style.js';
import { typedCommand } from './output/typed-command.js';

optimizeLater(process.argv[2] ?? '');

// A stream that fails (a full disk behind `>`) says so behind our back.
process.on('uncaughtException', (error) => {
  const { text, exitCode } = describeFailure(error, createStyle(false), process.env);
  process.stderr.write(`${text}\n`);
  process.exit(exitCode);
});

const manifest = readFileSync(new URL('../package.json', import.meta.url), 'utf8');
const { version } = JSON.parse(manifest) as { version: string };
const { stdout, stderr, env, argv } = process;
const command = typedCommand({ env, script: argv[1] ?? 'monta', folder: process.cwd() });
process.exitCode = await runMonta(argv.slice(2), version, { stdout, stderr, env, command });
