/** `printf -v NAME "[%s]" text`, the form of printf that sets a variable. */
import type { Place } from './place.js';
import { unknownText, type ShellState } from './state.js';

/** Sets the variable; only places for text are filled in. `texts` begin with `-v`. */
export function printInto(
  state: ShellState,
  [, name = '', form = '', ...values]: readonly string[],
  place: Place,
): void {
  const rest = [...values];
  const plain = !/%(?![sd%])/u.test(form);
  const text = form.replaceAll(/%[sd%]/gu, (mark) => (mark === '%%' ? '%' : (rest.shift() ?? '')));
  state.setText(name, plain && rest.length === 0 ? text : unknownText(`printf ${form}`), place);
}
