/// <reference types="node" />
import { EventEmitter } from 'node:events';
import type { Settings } from './settings.js';

// ------------------------------------------------------------------ options

/** `ssl` as in node-postgres. `rejectUnauthorized: false` checks no certificate, and is warned about once. */
export interface SslOptions {
  rejectUnauthorized?: boolean;
  ca?: string | Buffer | (string | Buffer)[];
  cert?: string | Buffer;
  key?: string | Buffer;
  passphrase?: string;
  minVersion?: string;
}

export interface FetchOptions {
  /** Of a statement, waiting and repetitions included, in ms. */
  timeout?: number;
  retry?: {
    retries?: number;
    retryDelay?: number;
    /** Accepted; what is repeated is what cannot have run, or only reads. */
    retryCondition?: (error: any) => boolean;
  };
  signal?: AbortSignal;
  /** Accepted, without effect: it is always so. */
  priority?: string;
  keepalive?: boolean;
  cache?: string;
}

export interface TypeParsers {
  getTypeParser(oid: number, format?: string): (text: any) => any;
}

export type Isolation = 'ReadUncommitted' | 'ReadCommitted' | 'RepeatableRead' | 'Serializable' | (string & {});

/** As in node-postgres; the settings by their own names too. */
export interface PoolOptions extends Settings {
  connectionString?: string;
  host?: string;
  port?: number | string;
  user?: string;
  database?: string;
  password?: string | (() => string | Promise<string>);
  ssl?: boolean | SslOptions | null;
  max?: number;
  min?: number;
  idleTimeoutMillis?: number | null;
  connectionTimeoutMillis?: number;
  maxLifetimeSeconds?: number;
  statement_timeout?: number | false;
  query_timeout?: number | false;
  lock_timeout?: number;
  idle_in_transaction_session_timeout?: number;
  application_name?: string;
  fallback_application_name?: string;
  options?: string;
  /** false: pool.query always takes a connection of its own. */
  poolQueryViaFetch?: boolean;
  fetchOptions?: FetchOptions;
  types?: TypeParsers;
  /** A connection is closed when it was leased so often. */
  maxUses?: number;
  onConnect?: (client: PoolClient) => void | Promise<void>;
  allowExitOnIdle?: boolean;
  keepAlive?: boolean;
  log?: string | ((level: string, line: string) => void);
  audit?: (event: object) => void;
  cleanupOnExit?: boolean | { signals?: string[]; timeout?: number };
  [setting: string]: any;
}

export interface NeonOptions<ArrayMode extends boolean = boolean, FullResults extends boolean = boolean> {
  arrayMode?: ArrayMode;
  fullResults?: FullResults;
  types?: TypeParsers;
  fetchOptions?: FetchOptions;
  signal?: AbortSignal;
  operationId?: string;
}

export interface NeonTransactionOptions extends NeonOptions {
  isolationLevel?: Isolation;
  readOnly?: boolean;
  deferrable?: boolean;
}

export interface TransactionOptions {
  isolationLevel?: Isolation;
  readOnly?: boolean;
  deferrable?: boolean;
  /** How often the callback may run again after a serialization failure or a deadlock. Default: 0. */
  retries?: number;
  /** Of all of it, in ms. */
  timeout?: number;
  operationId?: string;
  signal?: AbortSignal;
}

// ------------------------------------------------------------------ results and errors

export interface FieldDef {
  name: string;
  tableID: number;
  columnID: number;
  dataTypeID: number;
  dataTypeSize: number;
  dataTypeModifier: number;
  format: string;
}

export interface QueryResult<Row = any> {
  command: string;
  rowCount: number | null;
  /** null where the command has none, as in node-postgres, whose types say this, too. */
  oid: number;
  rows: Row[];
  fields: FieldDef[];
  rowAsArray?: boolean;
}

export interface FullQueryResults<Row = any> {
  fields: FieldDef[];
  rows: Row[];
  command: string;
  rowCount: number | null;
  rowAsArray: boolean;
  viaNeonFetch: true;
}

export interface QueryConfig {
  text: string;
  values?: any[];
  name?: string;
  rowMode?: 'array';
  types?: TypeParsers;
  query_timeout?: number;
}

type Callback<T> = (error: Error | null | undefined, value: T) => void;

/** What is no error of the database's: `status` and `code` are Cenote's word (CENOTE_TIMEOUT). */
export { CenoteError } from './connection-manager.js';

interface ServerFields {
  severity?: string;
  code?: string;
  detail?: string;
  hint?: string;
  position?: string;
  internalPosition?: string;
  internalQuery?: string;
  where?: string;
  schema?: string;
  table?: string;
  column?: string;
  dataType?: string;
  constraint?: string;
  file?: string;
  line?: string;
  routine?: string;
}

export interface DatabaseError extends Error, ServerFields {
  readonly length: number;
}
export const DatabaseError: { prototype: DatabaseError; new (...parts: never[]): DatabaseError };

export interface NeonDbError extends Error, ServerFields {
  sourceError?: Error;
}
export const NeonDbError: { prototype: NeonDbError; new (message: string): NeonDbError };

// ------------------------------------------------------------------ Neon's client

/** Runs when it is awaited. Inside another template it is a part of it. */
export interface NeonQueryPromise<T = any> extends Promise<T> {
  readonly parameterizedQuery: { query: string; params: any[] };
}

export interface UnsafeRawSql {
  sql: string;
}

type Rows = Record<string, any>[];

export interface NeonClient {
  (strings: TemplateStringsArray, ...values: any[]): NeonQueryPromise<any>;
  (text: string, params?: any[], options?: NeonOptions): NeonQueryPromise<any>;
  query(
    text: string,
    params: any[] | undefined,
    options: NeonOptions & { fullResults: true }
  ): NeonQueryPromise<FullQueryResults>;
  query(text: string, params: any[] | undefined, options: NeonOptions & { arrayMode: true }): NeonQueryPromise<any[][]>;
  query(text: string, params?: any[], options?: NeonOptions): NeonQueryPromise<Rows>;
  unsafe(raw: string): UnsafeRawSql;
  transaction(
    queries: NeonQueryPromise[] | ((sql: NeonClient) => NeonQueryPromise[]),
    options?: NeonTransactionOptions
  ): Promise<any[]>;
}

// ------------------------------------------------------------------ the pool

/** A query object that writes on the connection itself (pg-cursor, pg-query-stream). */
interface Submittable {
  submit: (connection: any) => void;
}

/** As node-postgres' types have it, so that functions for `pg.PoolClient` take it. */
export interface PoolClient extends EventEmitter {
  /** @deprecated Refused at run time (CENOTE_UNSUPPORTED). */
  query<T extends Submittable>(query: T): T;
  query<Row = any>(text: string | QueryConfig, values?: any[]): Promise<QueryResult<Row>>;
  query<Row = any>(text: string | QueryConfig, callback: Callback<QueryResult<Row>>): void;
  query<Row = any>(text: string | QueryConfig, values: any[], callback: Callback<QueryResult<Row>>): void;
  release(error?: Error | boolean): void;
  escapeIdentifier(text: string): string;
  escapeLiteral(text: string): string;
  setTypeParser(oid: number, parse: (text: string) => any): void;
  setTypeParser(oid: number, format: string, parse: (text: string) => any): void;
  getTypeParser(oid: number, format?: string): (text: any) => any;
  /** A pooled client is connected already: an error. */
  connect(): Promise<any>;
  connect(callback: (error: any, client?: any) => void): void;
  /** Closes the connection. */
  end(): Promise<void>;
  end(callback: (error: Error) => void): void;
  readonly host: string;
  readonly port: number;
  readonly user?: string | undefined;
  readonly database?: string | undefined;
  readonly ssl: boolean;
  readonly pipeline: boolean;
  /** undefined: it is no connection of node-postgres'. */
  readonly connection: any;
  /** 'I' or 'T'; a transaction that has failed is 'T', too. */
  getTransactionStatus(): 'I' | 'T' | 'E' | null;
  /** @deprecated Without effect. */
  pauseDrain(): void;
  /** @deprecated Without effect. */
  resumeDrain(): void;
  /** @deprecated An error: COPY from or to the client is not supported. */
  copyFrom(text: string): any;
  /** @deprecated An error: COPY from or to the client is not supported. */
  copyTo(text: string): any;
}

/** As node-postgres' types have it, so that functions for `pg.Pool` take it. */
export interface PgPool extends EventEmitter {
  connect(): Promise<PoolClient>;
  connect(
    callback: (error: Error | undefined, client: PoolClient | undefined, release: (error?: any) => void) => void
  ): void;
  /** @deprecated Refused at run time (CENOTE_UNSUPPORTED). */
  query<T extends Submittable>(query: T): T;
  query<Row = any>(text: string | QueryConfig, values?: any[]): Promise<QueryResult<Row>>;
  query<Row = any>(text: string | QueryConfig, callback: Callback<QueryResult<Row>>): void;
  query<Row = any>(text: string | QueryConfig, values: any[], callback: Callback<QueryResult<Row>>): void;
  end(): Promise<void>;
  end(callback: () => void): void;
  readonly totalCount: number;
  readonly idleCount: number;
  readonly waitingCount: number;
  /** 0. */
  readonly expiredCount: number;
  /** What was passed, and what these are otherwise. */
  readonly options: {
    max: number;
    maxUses: number;
    allowExitOnIdle: boolean;
    maxLifetimeSeconds: number;
    idleTimeoutMillis: number | null;
    [option: string]: any;
  };
  readonly ending: boolean;
  readonly ended: boolean;
}

// ------------------------------------------------------------------ the module

export interface PoolStats {
  totalConnections: number;
  activeConnections: number;
  idleConnections: number;
  waitingClients: number;
  neonClient: 'initialized' | 'not_initialized';
  pgPool: 'initialized' | 'not_initialized';
  timestamp: string;
}

export interface PathHealth {
  healthy: boolean;
  error: string | null;
}

export interface PoolHealth {
  neon: PathHealth;
  pgPool: PathHealth;
  stats: PoolStats;
  status: 'healthy' | 'degraded' | 'unhealthy';
  issues: string[];
  recommendations: { type: string; message: string; suggestion: string; priority: string }[];
}

type Hint = 'query' | 'simple' | 'transaction' | 'complex' | 'pool';

export class ConnectionPoolManager {
  constructor(options?: PoolOptions);
  getNeonClient(options?: PoolOptions & NeonTransactionOptions): NeonClient;
  getNeonClient(url: string, options?: PoolOptions & NeonTransactionOptions): NeonClient;
  getPgPool(options?: PoolOptions | string): PgPool;
  getClient(hint?: 'query' | 'simple'): NeonClient;
  getClient(hint: 'transaction' | 'complex' | 'pool'): PgPool;
  /** The rows. */
  executeQuery<Row = any>(sql: string, params?: any[], type?: Hint): Promise<Row[]>;
  /** Begins, calls back, commits; rolls back when the callback throws. It runs again only where `retries` allows it. */
  executeTransaction<T>(callback: (client: PoolClient) => Promise<T> | T, options?: TransactionOptions): Promise<T>;
  healthCheck(): Promise<PoolHealth>;
  getStats(): PoolStats;
  getHealth(how?: { probe?: boolean }): Promise<object[]>;
  /** Resolves to false when leases were forced. */
  shutdown(timeout?: number): Promise<boolean>;
}

/** What the functions below work with. */
export const connectionPoolManager: ConnectionPoolManager;
export const getNeonClient: ConnectionPoolManager['getNeonClient'];
export const getPgPool: ConnectionPoolManager['getPgPool'];
export const getClient: ConnectionPoolManager['getClient'];
export const executeQuery: ConnectionPoolManager['executeQuery'];
export const executeTransaction: ConnectionPoolManager['executeTransaction'];
export const healthCheck: ConnectionPoolManager['healthCheck'];
export const getStats: ConnectionPoolManager['getStats'];
export const shutdown: ConnectionPoolManager['shutdown'];
/** The table of type parsers, as node-postgres' `types`. */
export const types: TypeParsers & { setTypeParser(oid: number, parse: (text: string) => any): void };
