/** The page: its head, and one of its rooms. */
import { ExplorePage } from './explore/explore-page.js';
import { page, pageAddress, pages, type Page } from './base/location.js';
import { PlanPage } from './plan/plan-page.js';
import { RunPage } from './run/run-page.js';
import { TrafficPage } from './traffic/traffic-page.js';
import { TimelinePage } from './timeline/timeline-page.js';

const rooms: Readonly<Record<Page, { readonly name: string; readonly Room: () => preact.JSX.Element }>> = {
  plan: { name: 'Plan', Room: PlanPage },
  explore: { name: 'Explore', Room: ExplorePage },
  timeline: { name: 'Timeline', Room: TimelinePage },
  traffic: { name: 'Traffic', Room: TrafficPage },
  run: { name: 'Run', Room: RunPage },
};

export function App() {
  const { Room } = rooms[page.value];
  return (
    <>
      <header>
        <h1>Monta</h1>
        <nav aria-label="Pages">
          {pages.map((one) => (
            <a key={one} href={pageAddress(one)} aria-current={one === page.value ? 'page' : undefined}>
              {rooms[one].name}
            </a>
          ))}
        </nav>
        <p class="muted">Everything is computed here; nothing leaves this machine.</p>
      </header>
      <main>
        <Room />
      </main>
    </>
  );
}
