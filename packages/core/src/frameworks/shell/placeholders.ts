/**
 * What published scripts leave for people to fill in: `DATA=<path to data>`, `--save <checkpoints>`. To the shell it is
 * a redirection, and nobody means one.
 */
const placeholder = /(=|--[A-Za-z][\w-]*[ =])<([A-Za-z][^<>\n|;&$"']*[^<>\n|;&$"'\s])>(?=[\w\s"'\\/.)]|$)/gmu;

/** The same text with placeholders in quotes, each one word and as long as before. */
export const withoutPlaceholders = (text: string): string =>
  text.replaceAll(placeholder, (_, before: string, what: string) => `${before}"${what.replaceAll(/\s/gu, '_')}"`);
