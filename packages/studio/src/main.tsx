/** Starts the page. */
import { render } from 'preact';
import { App } from './app.js';
import { followAddress } from './base/location.js';
import 'virtual:theme.css';
import './style.css';

const place = document.getElementById('studio');
if (place === null) throw new Error('the page has no place for the studio');
followAddress();
render(<App />, place);
// Where a browser keeps no pages (not over plain http, not in private windows) this one needs its host.
navigator.serviceWorker?.register('./offline.js').catch(() => undefined);
