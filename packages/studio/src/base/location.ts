/** What the page shows, as its address says: `#/plan?model=deepseek-v3&cluster=h800-256x8`. A link shows the same. */
import { computed, signal } from '@preact/signals';

export const pages = ['plan', 'explore', 'timeline', 'traffic', 'run'] as const;
export type Page = (typeof pages)[number];

interface Place {
  readonly page: Page;
  readonly params: URLSearchParams;
}

/** Reads the part of an address behind `#`. Anything unknown is the first page. */
export function readPlace(hash: string): Place {
  const [, path = '', query = ''] = /^#\/?([^?]*)\??(.*)$/su.exec(hash) ?? [];
  const page = pages.find((one) => one === path) ?? 'plan';
  return { page, params: new URLSearchParams(query) };
}

/** Writes it; what is empty is left out. */
export function writePlace({ page, params }: Place): string {
  const kept = new URLSearchParams([...params].filter(([, value]) => value !== ''));
  const query = kept.toString();
  return `#/${page}${query === '' ? '' : `?${query}`}`;
}

const place = signal<Place>(readPlace(globalThis.location?.hash ?? ''));

export const page = computed(() => place.value.page);
export const params = computed(() => place.value.params);

/** Follows the address bar, back and forward. */
export function followAddress(): void {
  addEventListener('hashchange', () => {
    place.value = readPlace(location.hash);
  });
}

/** Changes what the address says of this page. The history keeps one entry for a page, whatever was typed there. */
export function setParams(changes: Readonly<Record<string, string>>): void {
  const next = new URLSearchParams(place.value.params);
  for (const [name, value] of Object.entries(changes)) next.set(name, value);
  place.value = { page: place.value.page, params: next };
  history.replaceState(null, '', writePlace(place.value));
}

/** What pages have in common: the subject, and the layer that sliders describe. */
const shared = ['model', 'cluster', 'tp', 'ep', 'tokens', 'experts', 'topK', 'skew', 'ports', 'network', 'inside'];

/** The address of another page, with what both have in common kept. */
export const pageAddress = (to: Page): string => {
  const kept = shared.flatMap((name): [string, string][] => {
    const value = place.value.params.get(name);
    // On the page of plans tp and ep are bounds.
    const layer = name === 'model' || name === 'cluster' || (to !== 'plan' && place.value.page !== 'plan');
    return value === null || !layer ? [] : [[name, value]];
  });
  return writePlace({ page: to, params: new URLSearchParams(kept) });
};
