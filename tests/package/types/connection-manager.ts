/** What the declarations of cenote/connection-manager allow, and what they refuse. Compiled, never run. */
import {
  acquireDbLease, CenoteError, ConnectionState, DatabaseConnectionManager, getConnectionManager, getPoolHealthStatus,
  getPoolStatistics, resetConnectionManager,
} from 'cenote/connection-manager';
import type {
  AuditEvent, DatabaseLease, HealthStatus, InArgs, InStatement, LeaseStats, ManagerOptions, NotInitialized,
  PoolStatistics, ResultSet, Row, State, Transaction, TransactionMode, Value,
} from 'cenote/connection-manager';

export async function allowed(): Promise<Row[]> {
  const options: ManagerOptions = {
    maxConnections: 5, acquireTimeout: 1000, intMode: 'bigint',
    log: (level: string, line: string) => void (level + line),
    audit: (event: AuditEvent) => void event.kind,
  };
  const manager: DatabaseConnectionManager = getConnectionManager(options);
  const lease: DatabaseLease = await acquireDbLease('types', 5000);
  try {
    const statement: InStatement = { sql: 'SELECT ?', args: [1n, 'a', null, new Date(), new Uint8Array(2)] };
    const named: InArgs = { a: 1, b: true };
    const result: ResultSet = await lease.execute(statement);
    await lease.execute('SELECT :a, :b', named);
    const mode: TransactionMode = 'write';
    const transaction: Transaction = await lease.transaction(mode);
    await transaction.batch(['SELECT 1', { sql: 'SELECT ?', args: [2] }]);
    await transaction.commit();
    await transaction.rollback();
    const first: Value = result.rows[0]![0]!;
    const byName: Value = result.rows[0]!['a']!;
    const id: bigint | undefined = result.lastInsertRowid;
    void [first, byName, id];
    const told: LeaseStats = lease.getStats();
    const age: number = told.ageMs;
    lease.extend(age);
    return result.rows;
  } finally {
    const held: boolean = lease.release();
    void held;
    const state: State = manager.state;
    void (state === ConnectionState.SHUTDOWN);
    const drained: boolean = await manager.gracefulShutdown(1000);
    void drained;
    const health: HealthStatus | NotInitialized = await getPoolHealthStatus();
    const statistics: PoolStatistics | NotInitialized = getPoolStatistics();
    if ('pool' in statistics) {
      void (statistics.pool.activeLeases + statistics.metrics.leaseTimeouts);
    }
    void health.status;
    const stats = getPoolStatistics(); // as in the documents: without a look at what it is
    void ((stats.pool.activeLeases / stats.pool.maxConnections) * 100);
    const used: boolean = stats.status !== 'not_initialized';
    void used;
    await resetConnectionManager();
  }
}

export function told(error: unknown): string {
  return error instanceof CenoteError ? `${error.code} ${error.details ?? ''} ${error.retryable}` : String(error);
}

export async function refused(lease: DatabaseLease): Promise<void> {
  // @ts-expect-error a lease has no query()
  await lease.query('SELECT 1');
  // @ts-expect-error a function is no value
  await lease.execute('SELECT ?', [() => 1]);
  // @ts-expect-error no such mode
  await lease.transaction('exclusive');
  // @ts-expect-error texts are no numbers
  getConnectionManager({ maxConnections: '5' });
  // @ts-expect-error only the manager sets its state
  getConnectionManager().state = 'IDLE';
  // @ts-expect-error a promise is no lease
  acquireDbLease('x').release();
  // @ts-expect-error no such state
  const state: State = 'GONE';
  void state;
}
