/** The same module for import: one implementation, so one pool however it is loaded. */
export {
  DatabaseConnectionManager, getConnectionManager, resetConnectionManager, acquireDbLease, getPoolStatistics,
  getPoolHealthStatus, ConnectionState, CenoteError,
} from './connection-manager.cjs';
