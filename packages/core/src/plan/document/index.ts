export { isPlanDocument, type PlanDocument, planJsonSchema, planVersion, readPlan } from './plan-document.js';
export { planDocument, type PlanNames, settingOfPlan } from './write-plan.js';
