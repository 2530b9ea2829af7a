/** What the declarations of the package as a whole allow, and what they refuse. Compiled, never run. */
import {
  acquireDbLease, CenoteError, DatabaseConnectionManager, executeQuery, getNeonClient, getPgPool, shutdown,
} from 'cenote';
import type { DatabaseLease, PoolOptions, ResultSet } from 'cenote';
import { CenoteError as OfManager } from 'cenote/connection-manager';
import { CenoteError as OfPool } from 'cenote/connection-pool';

export async function allowed(): Promise<number> {
  const lease: DatabaseLease = await acquireDbLease('typed', 500);
  const result: ResultSet = await lease.execute('SELECT ? AS n', [1]);
  const options: PoolOptions = { connectionString: 'postgres://h/d', max: 5 };
  const rows = await executeQuery('SELECT $1::int AS n', [1]);
  void [getPgPool(options).totalCount, getNeonClient(), new DatabaseConnectionManager(), rows.length];
  const same: CenoteError[] = [new OfManager('x'), new OfPool('y')];
  const drained: boolean = await shutdown(1000);
  return drained ? result.rowsAffected : same.length;
}

export async function refused(): Promise<void> {
  // @ts-expect-error a statement is a text
  await executeQuery(5);
  // @ts-expect-error no such export
  void (await import('cenote')).vercelHandler;
}
