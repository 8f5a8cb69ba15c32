/** The built studio, served as people serve it, in a browser. */
import { spawn, type ChildProcess } from 'node:child_process';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { chromium, type Browser, type BrowserContextOptions, type Page } from 'playwright-core';

export const root = fileURLToPath(new URL('../../../', import.meta.url));
const monta = `${root}packages/cli/dist/main.js`;

/** Where Debian puts it; `CHROMIUM` names another one. */
const executablePath = process.env['CHROMIUM'] ?? '/usr/bin/chromium';

export interface Studio {
  /** With its token. */
  readonly address: string;
  stop(): void;
}

/** Starts `monta studio` and waits for its address. */
export async function startStudio(path?: string): Promise<Studio> {
  const child: ChildProcess = spawn(process.execPath, [monta, 'studio', ...(path === undefined ? [] : [path])], {
    cwd: root,
  });
  let said = '';
  const address = await new Promise<string>((resolve, reject) => {
    child.stdout?.on('data', (data: Buffer) => {
      said += data.toString();
      const [, found] = /Studio\s+(http\S+)/u.exec(said) ?? [];
      if (found !== undefined) resolve(found);
    });
    child.stderr?.on('data', (data: Buffer) => {
      said += data.toString();
    });
    child.once('exit', () => reject(new Error(`monta studio ended: ${said}`)));
  });
  return { address, stop: () => child.kill('SIGINT') };
}

export function launch(): Promise<Browser> {
  if (!existsSync(executablePath)) throw new Error(`no Chromium at ${executablePath}: apt-get install chromium`);
  return chromium.launch({ executablePath, args: ['--no-sandbox'] });
}

/** A page that fails a test by any error in it, a breach of its policy included. */
export async function openPage(
  browser: Browser,
  address: string,
  options: BrowserContextOptions = {},
): Promise<{ readonly page: Page; readonly faults: string[] }> {
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, ...options });
  context.setDefaultTimeout(90_000);
  const page = await context.newPage();
  const faults: string[] = [];
  page.on('pageerror', (error) => faults.push(error.message));
  page.on('console', (message) => {
    if (message.type() === 'error') faults.push(message.text());
  });
  await page.goto(address);
  return { page, faults };
}
