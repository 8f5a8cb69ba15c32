/** The page: its head, and one of its rooms, which is loaded when it is first entered. */
import { useEffect, useState } from 'preact/hooks';
import { page, pageAddress, pages, type Page } from './base/location.js';
import { PlanPage } from './plan/plan-page.js';

type Room = () => preact.JSX.Element;

const rooms: Readonly<Record<Page, { readonly name: string; readonly load: () => Promise<Room> }>> = {
  plan: { name: 'Plan', load: () => Promise.resolve(PlanPage) },
  explore: { name: 'Explore', load: async () => (await import('./explore/explore-page.js')).ExplorePage },
  timeline: { name: 'Timeline', load: async () => (await import('./timeline/timeline-page.js')).TimelinePage },
  traffic: { name: 'Traffic', load: async () => (await import('./traffic/traffic-page.js')).TrafficPage },
  run: { name: 'Run', load: async () => (await import('./run/run-page.js')).RunPage },
};

interface Entered {
  readonly page: Page;
  readonly Room: Room;
}

export function App() {
  const wanted = page.value;
  const [entered, setEntered] = useState<Entered>({ page: 'plan', Room: PlanPage });
  const [fault, setFault] = useState('');
  useEffect(() => {
    let current = true;
    rooms[wanted].load().then(
      (Room) => {
        if (!current) return;
        setEntered({ page: wanted, Room });
        setFault('');
      },
      (error: unknown) => current && setFault(String(error)),
    );
    return () => {
      current = false;
    };
  }, [wanted]);
  return (
    <>
      <header>
        <h1>Monta</h1>
        <nav aria-label="Pages">
          {pages.map((one) => (
            <a key={one} href={pageAddress(one)} aria-current={one === wanted ? 'page' : undefined}>
              {rooms[one].name}
            </a>
          ))}
        </nav>
        <p class="muted">Everything is computed here; nothing leaves this machine.</p>
      </header>
      <main>
        {fault !== '' && (
          <p class="complaint" role="alert">
            {`this page could not be loaded: ${fault}`}
          </p>
        )}
        {entered.page === wanted && <entered.Room key={wanted} />}
      </main>
    </>
  );
}
