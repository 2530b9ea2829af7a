/** Both documented modules at once; `shutdown`, `getStats` and `healthCheck` are those of connection-pool. */
export * from './connection-manager.js';
export * from './connection-pool.js';
