/**
 * Where the JavaScript of a module is. Worker threads and processes run built files; under a test runner that executes
 * TypeScript sources, `import.meta.url` points into `src`. Maps `…/packages/x/src/…/name.ts` (or .js) to
 * `…/packages/x/dist/…/name.js`.
 */
export function builtModule(module: URL | string, base?: string | URL): URL {
  const url = new URL(module, base);
  // The package's own `src`: the workspace may lie in a folder of that name.
  url.pathname = url.pathname.replace(/^(.*\/packages\/[^/]+)\/src\//, '$1/dist/').replace(/\.ts$/, '.js');
  return url;
}
