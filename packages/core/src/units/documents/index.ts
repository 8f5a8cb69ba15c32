export { Field, FieldMap, readDocument } from './document.js';
