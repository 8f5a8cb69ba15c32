export { type Group, type Layout } from './layout.js';
export {
  allGroups,
  coordinates,
  etpOfPlace,
  groupKinds,
  groupMembers,
  groupNumber,
  isPlaced,
  nodeOf,
  placedOn,
  replicaIndex,
  sliceIndex,
  worldSize,
} from './mesh.js';
export { formatLayout, occupiedBy, parseLayout, type PartialLayout, resolveLayout } from './resolve.js';
export { checkModelLayout, checkRunLayout, checkSequence, unevenSequence } from './check.js';
