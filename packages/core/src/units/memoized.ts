/** A function of an object, asked once for each: its answers are kept as long as the object. */
export function memoized<Key extends object, Value>(of: (key: Key) => Value): (key: Key) => Value {
  const known = new WeakMap<Key, { readonly value: Value }>();
  return (key) => {
    let answer = known.get(key);
    if (answer === undefined) known.set(key, (answer = { value: of(key) }));
    return answer.value;
  };
}

/** What is worked out where it is asked for, once. */
export function once<T extends object>(work: () => T): () => T {
  let done: T | undefined;
  return () => (done ??= work());
}
