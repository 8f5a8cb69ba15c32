export {
  centralAssumptions,
  nicCounts,
  nvlinkReached,
  type SpeedUp,
  speedUps,
  type StepGain,
  stepGains,
  volumes,
} from './claims.js';
export { type PaperRoom, paperRoom } from './room.js';
