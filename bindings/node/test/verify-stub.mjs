/**
 * A pool without a database, for the tests of cenote-verify. STUB says what is wrong with it: a word of the tests.
 */

const wrong = process.env.STUB ?? '';
let held = 0;
const wait = () => new Promise((done) => setTimeout(done, 1));

async function answer(n) {
  if (wrong === 'hangs') await new Promise((done) => setTimeout(done, 30000));
  await wait();
  if (wrong === 'breaks')
    throw Object.assign(new Error(`next attempt in ${900 - n} ms`), { code: 'CENOTE_BREAKER_OPEN' });
  if (wrong === 'fails' && n === 7)
    throw Object.assign(new Error('too many connections for postgres://me:hidden@host/db'), { code: '53300' });
  return { rows: [{ n: wrong === 'lies' && n === 3 ? 4 : n }] };
}

const client = () => {
  held++;
  return { query: (_sql, [n]) => answer(n), release: () => void (wrong === 'leaks' || held--) };
};
const pool = { connect: async () => (await wait(), client()) };

export const getNeonClient = () => async (_texts, n) => (await answer(n)).rows;
export const getPgPool = () => pool;
export const executeQuery = async (_sql, [n]) => (await answer(n)).rows;
export const executeTransaction = async (callback) => {
  const one = client();
  try { return await callback(one); } finally { one.release(); }
};
export const healthCheck = async () => ({
  neon: wrong === 'ill' ? { healthy: false, error: 'no route to host' } : { healthy: true, error: null },
  pgPool: { healthy: true, error: null },
});
export const getStats = () => ({
  totalConnections: 5,
  activeConnections: held,
  idleConnections: 5,
  waitingClients: 0,
  neonClient: 'initialized',
  pgPool: 'initialized',
  timestamp: new Date().toISOString(),
});
export const shutdown = async () => {};
