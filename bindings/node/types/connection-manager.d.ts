/** cenote/connection-manager: leases over a pool of database connections. */

import type { CleanupOptions } from './serverless.js';
import type { Settings } from './settings.js';

export type Value = null | string | number | bigint | boolean | ArrayBuffer;
export type InValue = Value | ArrayBufferView | Date;
export type InArgs = InValue[] | Record<string, InValue>;
export interface InStatementObject {
  sql: string;
  args?: InArgs;
}
export type InStatement = string | InStatementObject;

/** Addressable by column name and by position. */
export interface Row {
  readonly length: number;
  [position: number]: Value;
  [column: string]: Value;
}

export interface ResultSet {
  columns: string[];
  columnTypes: string[];
  rows: Row[];
  rowsAffected: number;
  lastInsertRowid: bigint | undefined;
  toJSON(): unknown;
}

export type TransactionMode = 'write' | 'read' | 'deferred';

export interface Transaction {
  readonly closed: boolean;
  execute(statement: InStatement, args?: InArgs): Promise<ResultSet>;
  batch(statements: InStatement[]): Promise<ResultSet[]>;
  commit(): Promise<void>;
  /** Resolves also after a failed commit, an expiry or a lost connection. */
  rollback(): Promise<void>;
  close(): void;
}

export interface LeaseStats {
  id: string;
  operationId: string;
  createdAt: number;
  lastUsed: number;
  ageMs: number;
  idleMs: number;
  isReleased: boolean;
}

export interface DatabaseLease<Client = LeasedConnection> {
  readonly id: string;
  readonly operationId: string;
  readonly createdAt: number;
  readonly lastUsed: number;
  readonly isReleased: boolean;
  readonly isHeld: boolean;
  readonly connection: Client;
  execute(statement: InStatement, args?: InArgs): Promise<ResultSet>;
  /** All or nothing. */
  batch(statements: InStatement[], mode?: TransactionMode): Promise<ResultSet[]>;
  /** Inside a transaction: a savepoint. A number is a time-out in milliseconds. */
  transaction(timeoutOrMode?: number | TransactionMode): Promise<Transaction>;
  /** Whether it was still held. */
  release(): boolean;
  extend(ms: number): void;
  getStats(): LeaseStats;
}

export interface LeasedConnection {
  execute: DatabaseLease['execute'];
  batch: DatabaseLease['batch'];
  transaction: DatabaseLease['transaction'];
}

/** The settings, and what concerns JavaScript alone. */
export interface ManagerOptions extends Settings {
  url?: string;
  connectionString?: string;
  /** What becomes of an integer: a number (an error where it would lose digits), a bigint, a text. */
  intMode?: 'number' | 'bigint' | 'string';
  /** A level, or where lines go. */
  log?: 'error' | 'warning' | 'info' | 'debug' | ((level: string, line: string) => void);
  audit?: (event: AuditEvent) => void;
  /** Pools clients of one's own: anything with execute (libSQL's) or query (node-postgres'). */
  createClient?: () => object | Promise<object>;
  destroyClient?: (client: any) => unknown;
  /** Throws, or answers false (or a promise of that), where the client is of no use. */
  validateClient?: (client: any) => unknown;
  /** A graceful shutdown on SIGTERM and before the exit; see cenote/serverless. */
  cleanupOnExit?: boolean | CleanupOptions;
  [setting: string]: unknown;
}

export interface AuditEvent {
  kind: 'opened' | 'closed' | 'leaseExpired' | 'loginFailed' | 'breakerMoved' | 'settingsChanged' | 'shutdown';
  connection: number;
  time: number;
  reason: string;
  operationId: string;
}

export interface PoolStatistics {
  state: State;
  config: Record<string, number | boolean | string>;
  pool: {
    totalConnections: number;
    availableConnections: number;
    activeLeases: number;
    maxConnections: number;
    [member: string]: unknown;
  };
  metrics: {
    totalConnectionsCreated: number;
    totalLeasesGranted: number;
    totalLeasesReleased: number;
    currentActiveLeases: number;
    connectionCreationErrors: number;
    leaseTimeouts: number;
    healthCheckFailures: number;
    [member: string]: unknown;
  };
  activeLeases: LeaseStats[];
  healthCheck: { enabled: boolean; interval: number };
  /** One lease in `every` is watched; `dropped` were never released. */
  leaseSampling: { every: number; sampled: number; dropped: number };
  timestamp: string;
  [member: string]: unknown;
}

export interface NotInitialized {
  status: 'not_initialized';
  message: string;
}

export interface HealthStatus {
  status: 'healthy' | 'degraded' | 'unhealthy';
  state: State;
  poolStatistics: PoolStatistics;
  issues: string[];
  timestamp: string;
  [member: string]: unknown;
}

export const ConnectionState: Readonly<{ IDLE: 'IDLE'; ACTIVE: 'ACTIVE'; DRAINING: 'DRAINING'; SHUTDOWN: 'SHUTDOWN' }>;
export type State = keyof typeof ConnectionState;

export interface AcquireOptions {
  /** Milliseconds to wait. */
  timeout?: number;
  /** The lease's own time in milliseconds, where that is less than the pool's. */
  leaseTimeout?: number;
  /** Gives the waiting up. */
  signal?: AbortSignal;
}

export class DatabaseConnectionManager {
  constructor(options?: ManagerOptions);
  readonly config: Record<string, number | boolean | string>;
  readonly state: State;
  readonly metrics: PoolStatistics['metrics'];
  readonly connections: Map<number, { id: number; createdAt: number }>;
  readonly leases: Map<string, DatabaseLease>;
  readonly isShuttingDown: boolean;
  acquireLease(operationId?: string, timeout?: number | AcquireOptions): Promise<DatabaseLease>;
  releaseLease(leaseId: string): Promise<boolean>;
  getPoolStatistics(): PoolStatistics;
  getHealthStatus(): Promise<HealthStatus>;
  /** false: leases were forced. */
  gracefulShutdown(timeout?: number): Promise<boolean>;
}

export function getConnectionManager(options?: ManagerOptions): DatabaseConnectionManager;
export function resetConnectionManager(): Promise<void>;
export function acquireDbLease(operationId?: string, timeout?: number | AcquireOptions): Promise<DatabaseLease>;
/** Before the first use there is nothing but `status`, 'not_initialized', and `message`. */
export function getPoolStatistics(): PoolStatistics & Partial<NotInitialized>;
export function getPoolHealthStatus(): Promise<HealthStatus | NotInitialized>;

export class CenoteError extends Error {
  /** SQLite's or PostgreSQL's for an error of the database, else `status`. */
  readonly code: string;
  /** What narrows SQLite's code down: SQLITE_CONSTRAINT_UNIQUE. */
  readonly extendedCode?: string;
  /** SQLite's number of it: 2067. Of files; over HTTP nobody tells. */
  readonly rawCode?: number;
  readonly status: string;
  /** Which statement of a batch failed. */
  readonly statementIndex?: number;
  readonly retryable: boolean;
  readonly details?: string;
  readonly sqlstate?: string;
}
