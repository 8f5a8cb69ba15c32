/** A page that needs nothing else: no network, no script, no other file. */
import { escapeXml as escape } from '../svg.js';
import { pageStyle } from './page-style.js';

/** Sections are markup; empty ones are left out. */
export const htmlPage = (title: string, sections: readonly string[]): string =>
  [
    '<!doctype html>',
    '<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">',
    `<title>${escape(title)}</title><style>${pageStyle}</style></head>`,
    `<body><main>`,
    ...sections.filter((section) => section !== ''),
    '</main></body></html>',
    '',
  ].join('\n');
