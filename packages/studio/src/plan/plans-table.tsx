/** The best plan and the runners-up: sorted by any column, filtered by any text. */
import { planColumns } from '@monta/core';
import { useState } from 'preact/hooks';
import type { PlanAnswer, PlanLine } from './answer.js';

interface Order {
  readonly column: number;
  readonly down: boolean;
}

/** By figures where the column has some, else by text. Plans that are equal there keep their order. */
function ordered(lines: readonly PlanLine[], { column, down }: Order): number[] {
  const value = (index: number): number | string =>
    lines[index]?.sortBy[column] ?? lines[index]?.cells[column]?.toLowerCase() ?? '';
  const compare = (a: number, b: number): number => {
    const [x, y] = [value(a), value(b)];
    return x < y ? -1 : x > y ? 1 : 0;
  };
  return [...lines.keys()].sort((a, b) => (down ? -1 : 1) * compare(a, b) || a - b);
}

interface PlansTableProps {
  readonly answer: PlanAnswer;
  readonly chosen: number;
  readonly onChoose: (index: number) => void;
}

export function PlansTable({ answer, chosen, onChoose }: PlansTableProps) {
  const [order, setOrder] = useState<Order>({ column: 6, down: false });
  const [wanted, setWanted] = useState('');
  const words = wanted.toLowerCase().split(/\s+/u).filter(Boolean);
  const shown = ordered(answer.lines, order).filter((index) => {
    const text = (answer.lines[index]?.cells ?? []).join(' ').toLowerCase();
    return words.every((word) => text.includes(word));
  });
  return (
    <section class="card" aria-label="Plans">
      <div class="bar">
        <h2>{answer.title}</h2>
        <input
          type="search"
          aria-label="Show only plans with these words"
          placeholder="filter: pp=8 full …"
          value={wanted}
          onInput={({ currentTarget }) => setWanted(currentTarget.value)}
        />
      </div>
      <div class="scroll" tabIndex={0} role="region" aria-label="Table of plans">
        <table>
          <thead>
            <tr>
              {planColumns.map((head, column) => (
                <th
                  key={head.header}
                  class={'align' in head ? 'number' : ''}
                  aria-sort={order.column !== column ? 'none' : order.down ? 'descending' : 'ascending'}
                >
                  <button
                    type="button"
                    onClick={() => setOrder({ column, down: order.column === column && !order.down })}
                  >
                    {head.header}
                  </button>
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            {shown.map((index) => (
              <Row
                key={index}
                line={answer.lines[index]}
                best={index === 0}
                chosen={index === chosen}
                onChoose={() => onChoose(index)}
              />
            ))}
          </tbody>
        </table>
      </div>
      <p class="muted">{answer.counts}</p>
    </section>
  );
}

interface RowProps {
  readonly line: PlanLine | undefined;
  readonly best: boolean;
  readonly chosen: boolean;
  readonly onChoose: () => void;
}

function Row({ line, best, chosen, onChoose }: RowProps) {
  if (line === undefined) return null;
  return (
    <tr class={chosen ? 'chosen' : ''} onClick={onChoose}>
      {line.cells.map((cell, column) => (
        <td key={column} class={'align' in (planColumns[column] ?? {}) ? 'number' : ''}>
          {column === 0 ? (
            <button type="button" class="link" aria-pressed={chosen} onClick={onChoose}>
              {cell}
            </button>
          ) : (
            cell
          )}
          {column === 0 && best && <span class="tag best">best</span>}
          {column === 0 && line.tie && <span class="tag">tie</span>}
        </td>
      ))}
    </tr>
  );
}
