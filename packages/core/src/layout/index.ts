export { type Group, type Layout } from './layout.js';
export {
  coordinates,
  etpOfPlace,
  groupMembers,
  groupNumber,
  placedOn,
  replicaIndex,
  sliceIndex,
  worldSize,
} from './mesh.js';
export { formatLayout, parseLayout, type PartialLayout, resolveLayout } from './resolve.js';
export { checkModelLayout } from './check.js';
