/** The same module for import. */
export {
  withInvocation, wrapHandler, timeLeft, remainingTime, attachDatabasePool, closeIdleConnections, cleanupOnExit,
} from './serverless.cjs';
