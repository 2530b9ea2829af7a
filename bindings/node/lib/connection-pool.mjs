/** The same module for import: one implementation, so one pool however it is loaded. */
import pool from './connection-pool.cjs';

// Node finds the names of a CommonJS module by reading it, and stops reading at the first that is the result of a call.
export const {
  connectionPoolManager, getNeonClient, getPgPool, getClient, executeQuery, executeTransaction, healthCheck, getStats,
  shutdown, ConnectionPoolManager, CenoteError, DatabaseError, NeonDbError, types,
} = pool;
