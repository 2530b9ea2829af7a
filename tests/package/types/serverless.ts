/** What the declarations of cenote/serverless allow, and what they refuse. Compiled, never run. */
import {
  attachDatabasePool, cleanupOnExit, closeIdleConnections, remainingTime, timeLeft, withInvocation, wrapHandler,
} from 'cenote/serverless';
import type { CleanupOptions, InvocationContext, InvocationOptions } from 'cenote/serverless';
import { getConnectionManager } from 'cenote/connection-manager';

export async function allowed(context: InvocationContext): Promise<number> {
  const pool = getConnectionManager();
  const options: InvocationOptions = { reserve: 50 };
  const cleanup: CleanupOptions = { signals: ['SIGTERM'], timeout: 500 };
  attachDatabasePool(pool, { idleTimeout: 5000 });
  const takeBack: () => void = cleanupOnExit(pool, cleanup);
  takeBack();
  const answer: number = await withInvocation(context, async () => 42, options);
  withInvocation(5000, () => undefined);
  const handler = wrapHandler(async (event: { id: number }, given: { deadline: Date }) =>
    event.id + given.deadline.getTime());
  const left: number | undefined = timeLeft();
  await closeIdleConnections(pool);
  return answer + (await handler({ id: 1 }, { deadline: new Date() })) + (left ?? 0) + remainingTime();
}

export function refused(): void {
  // @ts-expect-error no context says how much time is left
  withInvocation({}, () => 1);
  // @ts-expect-error a pool is an object
  attachDatabasePool('postgres://host/db');
  // @ts-expect-error milliseconds are a number
  cleanupOnExit({}, { timeout: '1s' });
  // @ts-expect-error a handler is a function
  wrapHandler({});
}
