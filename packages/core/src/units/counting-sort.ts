/** Places of small integer keys in the order of the keys, in time proportional to both. */

export interface SortedPlaces {
  /** bins + 1: places of key k stand in `order` from starts[k] to before starts[k + 1]. */
  readonly starts: Int32Array;
  readonly order: Int32Array;
}

/**
 * Sorts the places [0, keys.length) by their keys, each in [0, bins); equal keys keep their order. Places whose key is
 * below 0 are left out, and so are those that `kept`, where given, marks otherwise than 1.
 */
export function countingSort(keys: Int32Array, bins: number, kept?: Uint8Array): SortedPlaces {
  const starts = new Int32Array(bins + 1);
  for (let place = 0; place < keys.length; place++)
    if (keys[place] >= 0 && (kept === undefined || kept[place] === 1)) starts[keys[place] + 1]++;
  for (let bin = 0; bin < bins; bin++) starts[bin + 1] += starts[bin];
  const next = starts.slice();
  const order = new Int32Array(starts[bins]);
  for (let place = 0; place < keys.length; place++)
    if (keys[place] >= 0 && (kept === undefined || kept[place] === 1)) order[next[keys[place]]++] = place;
  return { starts, order };
}
