/** cenote/serverless: what functions of a cloud need, for both modules. */

/** AWS Lambda's and Netlify's context, a deadline, or the milliseconds that are left. */
export type InvocationContext =
  { getRemainingTimeInMillis(): number } | { deadline: Date | number | string } | Date | number;

export interface InvocationOptions {
  /** Milliseconds kept back of the time left, for a rollback and an answer; 100. */
  reserve?: number;
}

/** Leases and statements in `work`, also after an await, end with the invocation. */
export function withInvocation<T>(context: InvocationContext, work: () => T, options?: InvocationOptions): T;

/** A handler that runs with its context's time; where the context has none, as it is. */
export function wrapHandler<Handler extends (event: any, context: any, ...others: any[]) => any>(
  handler: Handler, options?: InvocationOptions): Handler;

/** Milliseconds left of the invocation the caller runs in; undefined outside of one. */
export function timeLeft(): number | undefined;
/** The same, where 0 means "no invocation" and 1 is the least. */
export function remainingTime(): number;

/** Closes idle connections before the instance is suspended; the pool's minimum becomes 0. */
export function attachDatabasePool(pool: object, options?: { idleTimeout?: number }): void;

/** Closes connections that nobody uses, now. */
export function closeIdleConnections(pool: object): Promise<void>;

export interface CleanupOptions {
  /** Beside beforeExit; SIGTERM. */
  signals?: string[];
  /** Milliseconds for leases to come back; the pool's own otherwise. */
  timeout?: number;
}

/** Shuts the pool down on a signal and before the exit. Answers what takes that back. */
export function cleanupOnExit(pool: object, options?: CleanupOptions): () => void;
