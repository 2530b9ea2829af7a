/** What the declarations of cenote/connection-pool allow, and what they refuse. Compiled, never run. */
import {
  CenoteError, connectionPoolManager, ConnectionPoolManager, DatabaseError, executeQuery, executeTransaction, getClient,
  getNeonClient, getPgPool, getStats, healthCheck, NeonDbError, shutdown, types,
} from 'cenote/connection-pool';
import type {
  FieldDef, NeonClient, PathHealth, PgPool, PoolClient, PoolHealth, PoolOptions, PoolStats, QueryConfig, QueryResult,
} from 'cenote/connection-pool';

import type { Client, ClientBase, Pool, PoolClient as PgClient, QueryResult as PgResult } from 'pg';

interface User {
  id: number;
  name: string;
}

export async function allowed(id: number): Promise<User[]> {
  const options: PoolOptions = {
    max: 20, min: 2, idleTimeoutMillis: 30000, connectionTimeoutMillis: 5000, statement_timeout: 30000,
    ssl: { rejectUnauthorized: true }, poolQueryViaFetch: true, allowExitOnIdle: true,
    fetchOptions: { priority: 'high', keepalive: true, timeout: 1000, retry: { retries: 3, retryDelay: 1000 } },
  };
  const sql: NeonClient = getNeonClient(options);
  await sql`SELECT * FROM users WHERE id = ${id}`;
  await sql('SELECT $1', [id]);
  const full = await sql.query('SELECT 1', [], { fullResults: true });
  const field: FieldDef | undefined = full.fields[0];
  await sql.transaction([sql`SELECT 1`, sql`SELECT 2`], { isolationLevel: 'Serializable', readOnly: true });

  const pool: PgPool = getPgPool();
  pool.on('error', (error: Error) => void error);
  const total: number = pool.totalCount + pool.idleCount + pool.waitingCount;
  const client: PoolClient = await pool.connect();
  try {
    const config: QueryConfig = { text: 'SELECT $1', values: [id], rowMode: 'array', name: 'one' };
    await client.query(config);
    const found: QueryResult<User> = await client.query<User>('SELECT * FROM users WHERE id = $1', [id]);
    const count: number | null = found.rowCount;
    void [count, found.command, field, total];
  } finally {
    client.release();
    client.release(new Error('broken'));
  }
  await pool.query<User>('SELECT 1');
  getClient('query')`SELECT 1`.then((rows) => rows.length);
  (await getClient('transaction').connect()).release(true);

  const name: string = await executeTransaction(async (each) => {
    const { rows } = await each.query<User>('SELECT * FROM users');
    return rows[0]?.name ?? '';
  }, { isolationLevel: 'Serializable', retries: 2, timeout: 1000 });
  const health: PoolHealth = await healthCheck();
  const path: PathHealth = health.neon;
  const stats: PoolStats = getStats();
  types.setTypeParser(20, (text: string) => BigInt(text));
  const own: ConnectionPoolManager = new ConnectionPoolManager(options);
  await own.shutdown(1000);
  await connectionPoolManager.shutdown();
  const drained: boolean = await shutdown();
  void [name, path.error, stats.totalConnections, drained];
  return executeQuery<User>('SELECT * FROM users WHERE id = $1', [id], 'query');
}

export function told(error: unknown): string {
  if (error instanceof CenoteError) return error.status;
  if (error instanceof NeonDbError) return error.code ?? error.message;
  return error instanceof DatabaseError ? error.detail ?? error.message : String(error);
}

/** Functions that a program wrote for node-postgres' types take what it has after the migration. */
export async function handedOn(own: ConnectionPoolManager): Promise<void> {
  const find = (client: PgClient): Promise<PgResult<User>> => client.query<User>('SELECT * FROM users');
  const base = (client: ClientBase | Client) => client.escapeLiteral('x');
  const count = (pool: Pool): number => pool.totalCount + pool.expiredCount + pool.options.max;
  const pool = getPgPool();
  pool.on('connect', (client: PgClient) => void client.host);
  const client = await pool.connect();
  await find(client);
  void [base(client), count(pool), count(own.getPgPool()), client.getTransactionStatus()];
  const each: Pool = pool;
  await executeTransaction(find);
  await executeTransaction(async (one) => (await find(one)).rows);
  void each;
}

export async function refused(): Promise<void> {
  // @ts-expect-error a template or a text, no number
  await getNeonClient()(1);
  // @ts-expect-error texts are no numbers
  getPgPool({ max: '20' });
  // @ts-expect-error no such use
  await executeQuery('SELECT 1', [], 'slow');
  // @ts-expect-error arguments are an array
  await executeQuery('SELECT $1', 1);
  // @ts-expect-error a promise is no client
  getPgPool().connect().query('SELECT 1');
  // @ts-expect-error only the pool counts
  getPgPool().totalCount = 1;
  // @ts-expect-error no one promises a text here
  const text: string = await executeTransaction(async () => 1);
  void text;
}
