export {
  centralAssumptions,
  nicCounts,
  nvlinkReached,
  type SpeedUp,
  speedUp,
  speedUps,
  type StepAssumptions,
  type StepGain,
  stepGain,
  stepGains,
  volumes,
} from './claims.js';
export { type PaperRoom, paperRoom } from './room.js';
