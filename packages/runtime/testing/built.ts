/**
 * Worker threads and processes run JavaScript: `npm run build` compiles this folder into `dist-testing`, which is not
 * published.
 */

/** Where the built module `name` of this folder is, such as `launch/launch.worker`. */
export const builtTesting = (name: string): URL => new URL(`../dist-testing/${name}.js`, import.meta.url);
