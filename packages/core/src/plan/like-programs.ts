/** Programs of stages that do the same on other layers: one for all of them is worked out once. */
import type { Program, Template } from '../schedule/schedule.js';

/** Templates and regions without the numbers of layers that their parameters belong to. */
const withoutLayers = (template: Template): string =>
  JSON.stringify(template, (key, value: unknown) => (key === 'layer' ? undefined : value));

/** The same list, in which a program stands for all that are it but for the numbers of their layers. */
export function likePrograms(programs: readonly Program[]): Program[] {
  const texts = new Map<Template, number>();
  const numbers = new Map<string, number>();
  const numberOf = (template: Template): number => {
    let number = texts.get(template);
    if (number !== undefined) return number;
    const text = withoutLayers(template);
    number = numbers.get(text) ?? numbers.size;
    numbers.set(text, number);
    texts.set(template, number);
    return number;
  };
  const known = new Map<string, Program>();
  return programs.map((program) => {
    const { nodes, templates } = program;
    const first = nodes.reduce((least, { layer }) => (layer < 0 ? least : Math.min(least, layer)), Infinity);
    const used = [...new Set(nodes.map(({ template }) => template))];
    const key = JSON.stringify([
      used.map((name) => [name, templates[name] && numberOf(templates[name])]),
      nodes.map(({ layer, ...node }) => [layer < 0 ? layer : layer - first, ...Object.values(node)]),
    ]);
    const like = known.get(key) ?? program;
    known.set(key, like);
    return like;
  });
}
