export { allowedText, type Allowed, type AxisName, axisNames, type Bounds, parseAllowed } from './bounds.js';
export { layoutOf, spacePoints, whyEmpty } from './climb.js';
export { type FrameworkName, frameworkNames } from './frameworks.js';
export { planProblem, type PlanProblem, type PlanQuestion, type SpacePoint } from './problem.js';
