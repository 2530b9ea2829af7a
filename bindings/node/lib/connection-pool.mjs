/** The same module for import: one implementation, so one pool however it is loaded. */
export {
  connectionPoolManager, getNeonClient, getPgPool, getClient, executeQuery, executeTransaction, healthCheck, getStats,
  shutdown, ConnectionPoolManager, CenoteError, DatabaseError, NeonDbError, types,
} from './connection-pool.cjs';
