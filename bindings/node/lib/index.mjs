/** Both documented modules at once, see index.cjs. */
export * from './connection-manager.mjs';
export * from './connection-pool.mjs';
export { CenoteError } from './connection-manager.mjs'; // it is in both
