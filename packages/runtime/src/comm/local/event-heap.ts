/** A queue of things to happen, soonest first; those of one time in the order in which they were added. */
export class EventHeap<T> {
  private readonly items: { readonly time: number; readonly order: number; readonly value: T }[] = [];
  private added = 0;

  get size(): number {
    return this.items.length;
  }

  /** Infinity when empty. */
  get nextTime(): number {
    return this.items[0]?.time ?? Infinity;
  }

  push(time: number, value: T): void {
    const { items } = this;
    const item = { time, order: this.added++, value };
    let hole = items.length;
    items.push(item);
    while (hole > 0) {
      const parent = items[(hole - 1) >> 1];
      if (parent === undefined || before(parent, item)) break;
      items[hole] = parent;
      hole = (hole - 1) >> 1;
    }
    items[hole] = item;
  }

  pop(): T | undefined {
    const { items } = this;
    const first = items[0];
    const last = items.pop();
    if (first === undefined || last === undefined || items.length === 0) return first?.value;
    let hole = 0;
    for (;;) {
      let child = 2 * hole + 1;
      const left = items[child];
      const right = items[child + 1];
      if (left === undefined) break;
      let smaller = left;
      if (right !== undefined && before(right, left)) {
        smaller = right;
        child += 1;
      }
      if (before(last, smaller)) break;
      items[hole] = smaller;
      hole = child;
    }
    items[hole] = last;
    return first.value;
  }
}

interface Ordered {
  readonly time: number;
  readonly order: number;
}

function before(a: Ordered, b: Ordered): boolean {
  return a.time < b.time || (a.time === b.time && a.order < b.order);
}
