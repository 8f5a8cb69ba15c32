export { KinetoReader, type KinetoOptions } from './kineto.js';
export { communicationKernel, type CommunicationKernel } from './kernel-names.js';
export type { Communication, ProfiledGroup, ProfiledOp, RankProfile } from './profile.js';
export { reportProfiles, type CommunicationRow, type ProfileReport, type RankTime } from './report.js';
export { inspectorRows } from './inspector-report.js';
export { profileOfKernels, type DeviceActivities, type DeviceActivity } from './kernels-profile.js';
export { profileMeasurements, type ProfileMeasurementOptions } from './profile-measurements.js';
export { placeOfGroup } from './group-place.js';
export { clockOffsetsOf, meetingsOf, splitsOf } from './meetings.js';
