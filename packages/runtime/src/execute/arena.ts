export { Arena } from '../device/arena.js';
