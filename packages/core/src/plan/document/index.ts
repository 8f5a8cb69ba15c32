export { isPlanDocument, type PlanDocument, planJsonSchema, planVersion, readPlan } from './plan-document.js';
export { planDocument, type PlanNames, settingOfPlan } from './write-plan.js';
export { comparePlans, type PlanComparison } from './compare-plans.js';
export { pricedPlan, type PricedPlan } from './priced-plan.js';
