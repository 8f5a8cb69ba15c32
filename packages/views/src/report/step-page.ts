/** A recorded step beside the predicted one, and beside what a better plan would take, as one page. */
import { escapeXml as escape } from '../svg.js';
import { timelineSvg, type TimelinePanel } from '../timeline/timeline.js';
import { figure } from './figure.js';
import { htmlPage } from './html-page.js';

export interface StepTableText {
  readonly title: string;
  readonly head: readonly string[];
  /** The first cell names the row, the others are figures. */
  readonly rows: readonly (readonly string[])[];
}

export interface StepPage {
  readonly title: string;
  readonly lead: string;
  readonly facts: readonly (readonly [name: string, text: string])[];
  readonly tables: readonly StepTableText[];
  /** Recorded, predicted, and the best plan's, on one axis of time. */
  readonly panels: readonly TimelinePanel[];
  /** Ranks that are drawn, one of each panel that has it. */
  readonly ranks: readonly number[];
  readonly notes: readonly string[];
}

const cells = (row: readonly string[], tag: 'td' | 'th'): string =>
  row.map((text, column) => `<${tag}${column === 0 ? '' : ' class="number"'}>${escape(text)}</${tag}>`).join('');

const table = ({ title, head, rows }: StepTableText): string =>
  `<h2>${escape(title)}</h2><div class="card scroll" tabindex="0"><table><thead><tr>${cells(head, 'th')}</tr></thead>` +
  `<tbody>${rows.map((row) => `<tr>${cells(row, 'td')}</tr>`).join('')}</tbody></table></div>`;

/** Draws the page. */
export function renderStepPage({ title, lead, facts, tables, panels, ranks, notes }: StepPage): string {
  const definitions = facts.map(([name, text]) => `<dt>${escape(name)}</dt><dd>${escape(text)}</dd>`).join('');
  return htmlPage(title, [
    `<h1>${escape(title)}</h1><p class="lead muted">${escape(lead)}</p>`,
    `<div class="card"><dl>${definitions}</dl></div>`,
    '<h2>One over the other</h2>',
    figure(
      (width) => timelineSvg(panels, { width, ranks }),
      'One axis of time. Recorded: what the profiler saw. Predicted: lengths of the closed form, in the order of a ' +
        'layer; a collective ends where its exposed part does.',
    ),
    ...tables.map(table),
    notes.length === 0 ? '' : `<h2>Notes</h2><ul>${notes.map((note) => `<li>${escape(note)}</li>`).join('')}</ul>`,
  ]);
}
