/**
 * The worker: everything that takes longer than a frame. It keeps the last search, which details are asked of. What the
 * first page does not need is loaded when it is asked for.
 */
import { shownError } from '../base/shown-error.js';
import { PlanQuest } from '../plan/answer.js';
import { readQuestion } from '../plan/question.js';
import { readSubject } from '../subject/subject.js';
import type { Exchanges, FromWorker, Kind, Request, ToWorker } from './messages.js';

/** How long work runs between looks at what the page says, milliseconds. */
const turn = 25;

const stopped = new Set<number>();
let quest: PlanQuest | undefined;

const send = (message: FromWorker): void => postMessage(message);

/** Lets messages of the page come in. */
const channel = new MessageChannel();
channel.port1.start();
function nextTurn(): Promise<void> {
  return new Promise((resolve) => {
    channel.port1.addEventListener('message', () => resolve(), { once: true });
    channel.port2.postMessage(null);
  });
}

/** Runs a generator in turns; what it returns, or undefined where it was told to stop. */
async function inTurns<T, R>(id: number, steps: Iterator<T, R>, tell: (value: T) => void): Promise<R | undefined> {
  let turned = performance.now();
  for (;;) {
    const { done, value } = steps.next();
    if (done === true) return value;
    tell(value);
    if (performance.now() - turned < turn) continue;
    await nextTurn();
    if (stopped.delete(id)) return undefined;
    turned = performance.now();
  }
}

function theQuest(): PlanQuest {
  if (quest === undefined) throw new RangeError('nothing was planned yet');
  return quest;
}

type Handlers = {
  readonly [K in Kind]: (
    ask: Exchanges[K]['ask'],
    id: number,
  ) => Promise<Exchanges[K]['answer']> | Exchanges[K]['answer'];
};

const progressOf =
  (id: number) =>
  (value: unknown): void =>
    send({ id, kind: 'progress', value });

const handlers: Handlers = {
  plan: async (fields, id) => {
    const subject = await readSubject(fields);
    const next = new PlanQuest(readQuestion(fields, subject));
    await inTurns(id, next.run(), progressOf(id));
    const answer = next.answer();
    quest = next;
    const { evidence } = subject;
    if (evidence === undefined) return answer;
    const { evidenceRows } = await import('../subject/dropped-subject.js');
    return { ...answer, evidence: evidenceRows(subject.cluster, evidence), doubts: evidence.notes };
  },
  detail: ({ index }) => theQuest().detail(index),
  changes: () => theQuest().changes(),
  export: async ({ index, to }) => (await import('../plan/export-answer.js')).exportAnswer(theQuest(), index, to),
  script: async ({ script, ...asked }) =>
    (await import('../plan/script-answer.js')).scriptAnswer(script, await readSubject(asked)),
  layer: async ({ sliders, ...asked }, id) => {
    const { layerInSteps } = await import('../explore/layer-quest.js');
    const tell = progressOf(id);
    const steps = layerInSteps(sliders, await readSubject(asked));
    const whole = await inTurns(id, steps, (early) => early !== undefined && tell(early));
    return whole ?? null;
  },
  map: async ({ sliders, ...asked }, id) => {
    const { mapCells } = await import('../explore/answer.js');
    const tell = progressOf(id);
    await inTurns(id, mapCells(sliders, await readSubject(asked)), (cell) => cell !== null && tell(cell));
    return null;
  },
  paper: async (fields, id) => {
    const { paperFigures } = await import('../explore/paper-answer.js');
    return (await inTurns(id, paperFigures(fields), progressOf(id))) ?? null;
  },
  trace: async ({ name, text }) => (await import('../timeline/opened-trace.js')).openTrace(name, text),
  traffic: async (fields) => (await import('../traffic/answer.js')).trafficAnswer(fields, await readSubject(fields)),
  layerTrace: async ({ pass, sliders, ...asked }) =>
    (await import('../timeline/opened-trace.js')).layerTrace(sliders, await readSubject(asked), pass),
};

async function handle<K extends Kind>({ id, kind, ask }: Request & { readonly kind: K }): Promise<void> {
  try {
    const answer = (handlers[kind] as (ask: unknown, id: number) => unknown)(ask, id);
    send({ id, kind: 'answer', value: await answer });
  } catch (error) {
    send({ id, kind: 'error', error: shownError(error) });
  } finally {
    stopped.delete(id);
  }
}

addEventListener('message', ({ data }: MessageEvent<ToWorker>) => {
  if (data.kind === 'stop') stopped.add(data.id);
  else void handle(data);
});
