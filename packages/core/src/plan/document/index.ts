export { isPlanDocument, type PlanDocument, planJsonSchema, planVersion, readPlan } from './plan-document.js';
export { dispatchOf, planDocument, type PlanNames, settingOfPlan } from './write-plan.js';
