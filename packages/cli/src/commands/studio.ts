/** `monta studio`: serves the page on loopback until it is interrupted. */
import type { PlanDocument } from '@monta/core';
import { InputError } from '@monta/core/units';
import { readDocument } from '@monta/core/units/documents';
import { isPlanDocument, readPlan } from '@monta/core/plan/document';
import { once } from 'node:events';
import { statSync } from 'node:fs';
import { join } from 'node:path';
import type { MontaContext } from '../context.js';
import { fileError } from '../errors.js';
import { readTextFile, readTextPieces } from '../files.js';
import { siteFolder } from '../studio/site.js';
import { StudioServer, type Served } from '../studio/server.js';
import type { StudioFlags } from './studio.flags.js';

/** What the address says so that the page asks a plan's question again. */
function questionOf({ model, cluster, sequence, globalBatch, framework, precision }: PlanDocument): string {
  const fields = {
    model,
    cluster,
    sequence: String(sequence),
    batch: String(globalBatch),
    ...(framework === null ? {} : { framework }),
    ...(precision === 'bf16' ? {} : { precision }),
  };
  return `#/plan?${new URLSearchParams(fields).toString()}`;
}

/** What is served beside the page, and where the page begins. Throws `InputError` for what is none of the three. */
function servedOf(path: string | undefined): { readonly served: Served; readonly start: string } {
  if (path === undefined) return { served: {}, start: '' };
  let folder: boolean;
  try {
    folder = statSync(path).isDirectory();
  } catch (error) {
    throw fileError(error, path);
  }
  if (folder)
    return { served: { metrics: join(path, 'metrics.jsonl'), trace: join(path, 'trace.json') }, start: '#/run' };
  // A trace may be larger than a text that is read whole: what it is stands at its head.
  let head = '';
  for (const piece of readTextPieces(path)) {
    head = piece;
    break;
  }
  if (/"traceEvents"\s*:/u.test(head)) return { served: { trace: path }, start: '#/timeline?open=1' };
  const text = readTextFile(path);
  const document = readDocument(text, path);
  if (isPlanDocument(document.value)) return { served: {}, start: questionOf(readPlan(text, path)) };
  throw new InputError('is nothing that the studio shows', {
    file: path,
    expected: 'a run folder, a plan (monta plan --output), or a trace (trace.json of a run)',
  });
}

/** Runs the command. Throws `InputError` for a bad path, a port that is taken, or a page that was not built. */
export async function runStudio({ console }: MontaContext, flags: StudioFlags, path?: string): Promise<void> {
  const { served, start } = servedOf(path);
  const server = new StudioServer(siteFolder(), served);
  const address = await server.listen(flags.port ?? 0);
  console.print(`Studio  ${address}${start}`);
  console.note('on this machine alone; Ctrl-C ends it');
  await once(process, 'SIGINT');
  await server.close();
}
