/**
 * The documented functions over npm's pg, for a run of cenote-verify against a real database.
 */

import pg from 'pg';

const pool = new pg.Pool({ connectionString: process.env.DATABASE_URL, max: 10 });

export const getPgPool = () => pool;
export const getNeonClient = () => async (texts, ...args) =>
  (await pool.query(texts.reduce((sql, text, at) => `${sql}$${at}${text}`), args)).rows;
export const executeQuery = async (sql, params) => (await pool.query(sql, params)).rows;
export const executeTransaction = async (callback) => {
  const client = await pool.connect();
  try {
    await client.query('BEGIN');
    const result = await callback(client);
    await client.query('COMMIT');
    return result;
  } catch (error) {
    await client.query('ROLLBACK');
    throw error;
  } finally {
    client.release();
  }
};
const check = () => pool.query('SELECT 1').then(() => ({ healthy: true, error: null }), (error) => ({ healthy: false, error: error.message }));
export const healthCheck = async () => ({ neon: await check(), pgPool: await check(), stats: getStats() });
export const getStats = () => ({
  totalConnections: pool.totalCount,
  activeConnections: pool.totalCount - pool.idleCount,
  idleConnections: pool.idleCount,
  waitingClients: pool.waitingCount,
  neonClient: 'initialized',
  pgPool: 'initialized',
  timestamp: new Date().toISOString(),
});
export const shutdown = () => pool.end();
