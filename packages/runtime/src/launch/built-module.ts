/**
 * Where the JavaScript of a module is. Worker threads and processes run built files; under a test runner that executes TypeScript
 * sources, `import.meta.url` points into `src`. Maps `…/packages/x/src/…/name.ts` (or .js) to `…/packages/x/dist/…/name.js`.
 */
export function builtModule(module: URL | string, base?: string | URL): URL {
  const url = new URL(module, base);
  const cut = url.pathname.lastIndexOf('/src/');
  if (cut >= 0) url.pathname = `${url.pathname.slice(0, cut)}/dist/${url.pathname.slice(cut + '/src/'.length)}`;
  url.pathname = url.pathname.replace(/\.ts$/, '.js');
  return url;
}
