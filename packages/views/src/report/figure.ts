/** A drawing on a page. */
import { escapeXml as escape } from '../svg.js';

/**
 * Widths at which drawings are made, px: for the page's full width, and for phones. Text then has its own size on both.
 */
const [wide, narrow] = [800, 366];

/** A drawing in both widths, of which the page shows the one that fits. */
export const figure = (draw: (width: number) => string, caption: string) =>
  `<figure class="card"><div class="wide">${draw(wide)}</div><div ` +
  `class="narrow">${draw(narrow)}</div><figcaption>${escape(caption)}</figcaption></figure>`;
