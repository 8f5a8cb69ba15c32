/**
 * Writing SVG as text: elements, escaping, and the look that all drawings share. Every colour stands twice: as an
 * attribute (light theme, understood by every viewer) and as a class whose CSS variable follows the reader's light or
 * dark preference. The variables are set without specificity, so a page that holds drawings and has a switch of its own
 * sets them on `.monta-plot` to override.
 */

export type Attributes = Readonly<Record<string, string | number | undefined>>;

const escapes: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
};

/** Makes text safe inside XML and HTML, attributes included. */
export function escapeXml(text: string): string {
  return text.replaceAll(/[&<>"']/gu, (character) => escapes[character] ?? character);
}

/** A number as SVG wants it: two decimals, no trailing zeros, no negative zero. */
export function coordinate(value: number): string {
  return String(Math.round(value * 100) / 100 + 0);
}

/** An element. Children are markup already, text goes through `escapeXml` first; undefined attributes are left out. */
export function element(name: string, attributes: Attributes, ...children: readonly string[]): string {
  const written = Object.entries(attributes).flatMap(([key, value]) =>
    value === undefined ? [] : [`${key}="${typeof value === 'number' ? coordinate(value) : escapeXml(value)}"`],
  );
  const head = [name, ...written].join(' ');
  return children.length === 0 ? `<${head}/>` : `<${head}>${children.join('')}</${name}>`;
}

/** What a colour is for. s0 to s7 tell series apart; low and high are the two ends of a diverging scale. */
export type Role = 'surface' | 'ink' | 'muted' | 'axis' | 'grid' | 'low' | 'high' | `s${0 | 1 | 2 | 3 | 4 | 5 | 6 | 7}`;

interface Shade {
  readonly light: string;
  readonly dark: string;
}

// Series colours keep their order of lightness for readers who see fewer hues, and stand out from both surfaces.
const palette: Readonly<Record<Role, Shade>> = {
  surface: { light: '#ffffff', dark: '#15191e' },
  ink: { light: '#1c2530', dark: '#e6eaef' },
  muted: { light: '#5c6875', dark: '#9ba7b4' },
  axis: { light: '#9aa6b2', dark: '#566370' },
  grid: { light: '#e6eaee', dark: '#272e36' },
  low: { light: '#2b6cb0', dark: '#5aa2e6' },
  high: { light: '#c2570c', dark: '#f08a3c' },
  s0: { light: '#2563a8', dark: '#6cb0f2' },
  s1: { light: '#d2691e', dark: '#f39a55' },
  s2: { light: '#2a8c6a', dark: '#5cc9a2' },
  s3: { light: '#a83a6f', dark: '#e784b1' },
  s4: { light: '#6b59b5', dark: '#ab9cf0' },
  s5: { light: '#8a6d1f', dark: '#d1b35a' },
  s6: { light: '#3a93a8', dark: '#72cadd' },
  s7: { light: '#6b7785', dark: '#a3afbb' },
};

const roles = Object.keys(palette) as Role[];

/** Role of the series number `index`; repeats after eight. */
export function seriesRole(index: number): Role {
  return (['s0', 's1', 's2', 's3', 's4', 's5', 's6', 's7'] as const)[index % 8] ?? 's7';
}

/** Attributes that fill with a role's colour. */
export function fill(role: Role): { class: string; fill: string } {
  return { class: `f-${role}`, fill: palette[role].light };
}

/** Attributes that stroke with a role's colour, and fill nothing. */
export function stroke(role: Role): { class: string; stroke: string; fill: string } {
  return { class: `t-${role}`, stroke: palette[role].light, fill: 'none' };
}

/** The theme as CSS custom properties for one scheme, for pages that hold plots. */
export function themeVariables(scheme: 'light' | 'dark'): string {
  return roles.map((role) => `--plot-${role}:${palette[role][scheme]}`).join(';');
}

/** What the classes of drawings mean, below a selector. b-: as a background, for what a page draws itself. */
export function colourRules(below: string): string {
  return roles
    .map(
      (role) =>
        `${below}.f-${role}{fill:var(--plot-${role})}${below}.t-${role}{stroke:var(--plot-${role})}` +
        (below === '' ? `.b-${role}{background-color:var(--plot-${role})}` : ''),
    )
    .join('');
}

/**
 * A drawing for a page that has `colourRules` and `themeVariables` in its own style sheet: without styles of its own,
 * which a strict content security policy forbids.
 */
export const withoutStyles = (svg: string): string =>
  svg.replaceAll(/<style>[^<]*<\/style>/gu, '').replaceAll(/ style="[^"]*"/gu, '');

const styleSheet = [
  `:where(.monta-plot){color-scheme:light dark;${themeVariables('light')}}`,
  `@media (prefers-color-scheme:dark){:where(.monta-plot){${themeVariables('dark')}}}`,
  colourRules('.monta-plot '),
].join('');

export const fontFamily = "system-ui, -apple-system, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif";
/** px. Drawings are up to 480 px wide, so that text is still 9 px high on a page of a screen of 420. */
export const fontSize = 12;
/** Width of a drawing when nothing else is asked for, px. */
export const defaultWidth = 480;

/** Width of a text in px, from mean character widths of common sans-serif fonts, on the wide side. */
export function estimateTextWidth(text: string, size = fontSize): number {
  let width = 0;
  for (const character of text) {
    width += /[ijlt.,:;'|!()[\]]/u.test(character) ? 0.36 : /[mwMW%@→←↑]/u.test(character) ? 0.95 : 0.62;
  }
  return width * size;
}

export interface TextOptions {
  readonly anchor?: 'start' | 'middle' | 'end';
  readonly role?: Role;
  readonly size?: number;
  readonly bold?: boolean;
}

/** Text whose baseline starts (or is centred, or ends) at (x, y). */
export function label(x: number, y: number, text: string, options: TextOptions = {}): string {
  return element(
    'text',
    {
      x,
      y,
      'text-anchor': options.anchor === undefined || options.anchor === 'start' ? undefined : options.anchor,
      'font-size': options.size,
      'font-weight': options.bold ? 600 : undefined,
      ...fill(options.role ?? 'muted'),
    },
    escapeXml(text),
  );
}

/** A straight line. */
export function line({
  x1,
  y1,
  x2,
  y2,
  role,
  extra = {},
}: {
  readonly x1: number;
  readonly y1: number;
  readonly x2: number;
  readonly y2: number;
  readonly role: Role;
  readonly extra?: Attributes;
}): string {
  return element('line', { x1, y1, x2, y2, ...stroke(role), ...extra });
}

/**
 * The whole drawing: one `<svg>` that stands alone and scales down with its container, on a ground that is light or
 * dark as the reader is.
 */
export function drawing(width: number, height: number, description: string, ...children: readonly string[]): string {
  return element(
    'svg',
    {
      xmlns: 'http://www.w3.org/2000/svg',
      class: 'monta-plot',
      viewBox: `0 0 ${coordinate(width)} ${coordinate(height)}`,
      width,
      height,
      style: 'max-width:100%;height:auto',
      role: 'img',
      'aria-label': description,
      'font-family': fontFamily,
      'font-size': fontSize,
    },
    `<style>${styleSheet}</style>`,
    element('rect', { width, height, ...fill('surface') }),
    ...children.map((child) => `\n${child}`),
    '\n',
  );
}
