/**
 * Small programs before and after. Each is `name`, `file` (its extension matters), `before`, and either `after` (every
 * byte of it), or `left`: the reasons why nothing changes.
 */

export const LIB = `export async function getDatabaseClient() {
  return globalThis.testClient;
}
`;

/** @type {{ name: string, file?: string, before: string, after?: string, left?: RegExp[], notes?: RegExp[] }[]} */
export const FIXTURES = [
  {
    name: 'neon from an import',
    before: `import { neon } from '@neondatabase/serverless';\n\nconst sql = neon(process.env.DATABASE_URL);\nexport const all = () => sql\`SELECT 1\`;\n`,
    after: `import { getNeonClient } from 'cenote/connection-pool';\n\nconst sql = getNeonClient();\nexport const all = () => sql\`SELECT 1\`;\n`,
  },
  {
    name: 'neon from a require, with double quotes and without semicolons',
    file: 'a.cjs',
    before: `"use strict"\nconst { neon } = require("@neondatabase/serverless") // driver\n\nexports.handler = async () => {\n  const sql = neon(process.env.DATABASE_URL)\n  return sql\`SELECT 1\`\n}\n`,
    after: `"use strict"\nconst { getNeonClient } = require("cenote/connection-pool") // driver\n\nexports.handler = async () => {\n  const sql = getNeonClient()\n  return sql\`SELECT 1\`\n}\n`,
  },
  {
    name: 'an alias, another import of the same package, and the URL in a constant',
    before: `import { neon as connect, NeonDbError } from '@neondatabase/serverless';\nconst url = process.env['DATABASE_URL'] ?? '';\nexport const sql = connect(url);\nexport const is = (e) => e instanceof NeonDbError;\n`,
    after: `import { NeonDbError } from '@neondatabase/serverless';\nimport { getNeonClient } from 'cenote/connection-pool';\nconst url = process.env['DATABASE_URL'] ?? '';\nexport const sql = getNeonClient();\nexport const is = (e) => e instanceof NeonDbError;\n`,
  },
  {
    name: 'the URL destructured from the environment',
    before: `import * as serverless from "@neondatabase/serverless";\nconst { DATABASE_URL } = process.env;\nif (!DATABASE_URL) throw new Error('no URL');\nexport default serverless.neon(\`\${DATABASE_URL}\`);\n`,
    after: `import { getNeonClient } from "cenote/connection-pool";\nconst { DATABASE_URL } = process.env;\nif (!DATABASE_URL) throw new Error('no URL');\nexport default getNeonClient();\n`,
  },
  {
    name: 'a dynamic import',
    before: `export async function f() {\n  const { neon } = await import('@neondatabase/serverless');\n  const sql = neon(process.env.DATABASE_URL);\n  return sql('SELECT 1', []);\n}\n`,
    after: `export async function f() {\n  const { getNeonClient } = await import('cenote/connection-pool');\n  const sql = getNeonClient();\n  return sql('SELECT 1', []);\n}\n`,
  },
  {
    name: 'a Pool of the default import, taken apart',
    before: `import pg from 'pg';\nconst { Pool } = pg;\n\n/* the pool */\nexport const pool = new Pool({ connectionString: process.env.DATABASE_URL });\n`,
    after: `import { getPgPool } from 'cenote/connection-pool';\n\n/* the pool */\nexport const pool = getPgPool();\n`,
  },
  {
    name: 'a Pool with options keeps them, comments and all',
    before: `import { Pool } from 'pg';\nexport const pool = new Pool({\n  connectionString: process.env.DATABASE_URL,\n  max: 10, // enough\n  ssl: { rejectUnauthorized: false },\n});\n`,
    after: `import { getPgPool } from 'cenote/connection-pool';\nexport const pool = getPgPool({\n  connectionString: process.env.DATABASE_URL,\n  max: 10, // enough\n  ssl: { rejectUnauthorized: false },\n});\n`,
  },
  {
    name: 'a Pool of a required namespace, its other uses stay',
    file: 'a.cjs',
    before: `const pg = require('pg');\nconst quote = pg.escapeIdentifier;\nmodule.exports = new pg.Pool({ connectionString: process.env.DATABASE_URL });\n`,
    after: `const pg = require('pg');\nconst { getPgPool } = require('cenote/connection-pool');\nconst quote = pg.escapeIdentifier;\nmodule.exports = getPgPool();\n`,
  },
  {
    name: 'a Pool of a function is not ended any more',
    file: 'a.cjs',
    before: `const Pool = require('pg').Pool;\nexports.handler = async () => {\n  const pool = new Pool({ connectionString: process.env.DATABASE_URL });\n  try {\n    const { rows } = await pool.query('SELECT 1');\n    return rows;\n  } catch (error) {\n    return null;\n  } finally {\n    await pool.end();\n  }\n};\n`,
    after: `const { getPgPool } = require('cenote/connection-pool');\nexports.handler = async () => {\n  const pool = getPgPool();\n  try {\n    const { rows } = await pool.query('SELECT 1');\n    return rows;\n  } catch (error) {\n    return null;\n  }\n};\n`,
  },
  {
    name: 'a Pool made at the first use, and ended by a function',
    before: `import { Pool } from 'pg';\nlet pool;\nexport function get() {\n  return (pool ??= new Pool({ connectionString: process.env.DATABASE_URL }));\n}\nexport async function stop() {\n  await pool.end();\n}\n`,
    after: `import { getPgPool } from 'cenote/connection-pool';\nlet pool;\nexport function get() {\n  return (pool ??= getPgPool());\n}\nexport async function stop() {\n  await pool.end();\n}\n`,
    notes: [/:7: pool\.end\(\): ends the pool that the whole program shares/],
  },
  {
    name: 'a Pool of an object',
    before: `import { Pool } from 'pg';\nexport class Db {\n  constructor() {\n    this.pool = new Pool({ connectionString: process.env.DATABASE_URL });\n  }\n  stop() {\n    return this.pool.end();\n  }\n}\n`,
    after: `import { getPgPool } from 'cenote/connection-pool';\nexport class Db {\n  constructor() {\n    this.pool = getPgPool();\n  }\n  stop() {\n    return this.pool.end();\n  }\n}\n`,
    notes: [/:7: this\.pool\.end\(\): ends the pool/],
  },
  {
    name: 'without semicolons, before a line that begins with a bracket',
    file: 'api/asi.js',
    before: `import { getDatabaseClient } from '../lib/database.js'\nexport async function f() {\n  const c = await getDatabaseClient()\n  ;[1].forEach(String)\n  await c.execute('a')\n}\n`,
    after: `import { acquireDbLease } from 'cenote/connection-manager'\nexport async function f() {\n  const lease = await acquireDbLease('f')\n  try {\n    ;[1].forEach(String)\n    await lease.execute('a')\n  } finally {\n    lease.release()\n  }\n}\n`,
  },
  {
    name: 'neon and a Pool of two packages share one import',
    before: `import { neon } from '@neondatabase/serverless';\nimport { Pool } from 'pg';\nexport const sql = neon(process.env.DATABASE_URL);\nexport const pool = new Pool({ connectionString: process.env.DATABASE_URL });\n`,
    after: `import { getNeonClient, getPgPool } from 'cenote/connection-pool';\nexport const sql = getNeonClient();\nexport const pool = getPgPool();\n`,
  },
  {
    name: 'an import of Cenote that is there already is used',
    before: `import { healthCheck } from 'cenote/connection-pool';\nimport { neon } from '@neondatabase/serverless';\nexport const sql = neon(process.env.DATABASE_URL);\nexport { healthCheck };\n`,
    after: `import { healthCheck, getNeonClient } from 'cenote/connection-pool';\nexport const sql = getNeonClient();\nexport { healthCheck };\n`,
  },
  {
    name: 'a Client that is ended on the straight way only',
    before: `import { Client } from 'pg';\nexport async function one(id) {\n  const client = new Client({ connectionString: process.env.DATABASE_URL });\n  await client.connect();\n\n  // look\n  const result = await client.query('SELECT $1', [id]);\n  if (!result.rows.length) {\n    await client.end();\n    return null;\n  }\n  await client.end();\n  return result.rows[0];\n}\n`,
    after: `import { getPgPool } from 'cenote/connection-pool';\nexport async function one(id) {\n  const client = await getPgPool().connect();\n\n  try {\n    // look\n    const result = await client.query('SELECT $1', [id]);\n    if (!result.rows.length) {\n      return null;\n    }\n    return result.rows[0];\n  } finally {\n    client.release();\n  }\n}\n`,
  },
  {
    name: 'a Client that is ended in a finally',
    file: 'a.cjs',
    before: `const { Client } = require('pg');\nexports.f = async () => {\n  const db = new Client(process.env.DATABASE_URL);\n  await db.connect();\n  try {\n    await db.query('BEGIN');\n    await db.query('COMMIT');\n  } catch (e) {\n    await db.query('ROLLBACK');\n    throw e;\n  } finally {\n    await db.end();\n  }\n};\n`,
    after: `const { getPgPool } = require('cenote/connection-pool');\nexports.f = async () => {\n  const db = await getPgPool().connect();\n  try {\n    await db.query('BEGIN');\n    await db.query('COMMIT');\n  } catch (e) {\n    await db.query('ROLLBACK');\n    throw e;\n  } finally {\n    db.release();\n  }\n};\n`,
  },
  {
    name: 'a Client that connects inside its try',
    file: 'a.cjs',
    before: `const { Client } = require('pg');\nexports.f = async () => {\n\tconst db = new Client({ connectionString: process.env.DATABASE_URL, ssl: true });\n\ttry {\n\t\tawait db.connect();\n\t\tconst r = await db.query('SELECT 1');\n\t\treturn r.rows;\n\t} catch (e) {\n\t\treturn [];\n\t} finally {\n\t\tawait db.end();\n\t}\n};\n`,
    after: `const { getPgPool } = require('cenote/connection-pool');\nexports.f = async () => {\n\tlet db;\n\ttry {\n\t\tdb = await getPgPool({ connectionString: process.env.DATABASE_URL, ssl: true }).connect();\n\t\tconst r = await db.query('SELECT 1');\n\t\treturn r.rows;\n\t} catch (e) {\n\t\treturn [];\n\t} finally {\n\t\tdb?.release();\n\t}\n};\n`,
  },
  {
    name: 'the documented getDatabaseClient',
    file: 'api/documented.js',
    before: `import { getDatabaseClient } from '../lib/database.js';\n\nconst client = await getDatabaseClient();\nconst result = await client.execute('SELECT 1');\n`,
    after: `import { acquireDbLease } from 'cenote/connection-manager';\n\nconst lease = await acquireDbLease('api-documented');\ntry {\n  const result = await lease.execute('SELECT 1');\n} finally {\n  lease.release();\n}\n`,
  },
  {
    name: 'a template literal keeps its lines, a returned promise is awaited',
    file: 'api/template.js',
    before: `import { getDatabaseClient } from '../lib/database.js';\nexport async function findUser(email) {\n    const db = await getDatabaseClient(); // shared\n    return db.execute(\n        \`SELECT *\n  FROM users\`,\n        [email],\n    );\n}\n`,
    after: `import { acquireDbLease } from 'cenote/connection-manager';\nexport async function findUser(email) {\n    const lease = await acquireDbLease('find-user'); // shared\n    try {\n        return await lease.execute(\n            \`SELECT *\n  FROM users\`,\n            [email],\n        );\n    } finally {\n        lease.release();\n    }\n}\n`,
  },
  {
    name: 'only what needs the lease stands in the try, inside another try',
    file: 'api/inner.js',
    before: `import { getDatabaseClient } from '../lib/database.js';\nexport default async function handler(req, res) {\n  try {\n    const client = await getDatabaseClient();\n    await client.batch([{ sql: 'a', args: [] }]);\n    res.json({ ok: true });\n  } catch (error) {\n    res.json({ ok: false });\n  }\n}\n`,
    after: `import { acquireDbLease } from 'cenote/connection-manager';\nexport default async function handler(req, res) {\n  try {\n    const lease = await acquireDbLease('api-inner');\n    try {\n      await lease.batch([{ sql: 'a', args: [] }]);\n    } finally {\n      lease.release();\n    }\n    res.json({ ok: true });\n  } catch (error) {\n    res.json({ ok: false });\n  }\n}\n`,
  },
  {
    name: 'a transaction, and many queries at once',
    file: 'api/tx.js',
    before: `import { getDatabaseClient } from '../lib/database.js';\nclass Service {\n  async createAll(items) {\n    const client = await getDatabaseClient();\n    const tx = await client.transaction();\n    try {\n      await tx.execute('a');\n      await tx.commit();\n    } catch (error) {\n      await tx.rollback();\n      throw error;\n    }\n    return Promise.all(items.map((item) => client.execute('b', [item])));\n  }\n}\nexport default Service;\n`,
    after: `import { acquireDbLease } from 'cenote/connection-manager';\nclass Service {\n  async createAll(items) {\n    const lease = await acquireDbLease('create-all');\n    try {\n      const tx = await lease.transaction();\n      try {\n        await tx.execute('a');\n        await tx.commit();\n      } catch (error) {\n        await tx.rollback();\n        throw error;\n      }\n      return await Promise.all(items.map((item) => lease.execute('b', [item])));\n    } finally {\n      lease.release();\n    }\n  }\n}\nexport default Service;\n`,
  },
  {
    name: 'a client assigned in a try is released in its finally',
    file: 'api/assigned.js',
    before: `import { getDatabaseClient } from '../lib/database.js';\nexport async function load() {\n  let client;\n  try {\n    client = await getDatabaseClient();\n    const r = await client.execute('a');\n    return r.rows;\n  } catch (error) {\n    return [];\n  }\n}\n`,
    after: `import { acquireDbLease } from 'cenote/connection-manager';\nexport async function load() {\n  let client;\n  try {\n    client = await acquireDbLease('load');\n    const r = await client.execute('a');\n    return r.rows;\n  } catch (error) {\n    return [];\n  } finally {\n    client?.release();\n  }\n}\n`,
  },
  {
    name: 'all on one line',
    file: 'api/line.js',
    before: `import { getDatabaseClient } from '../lib/database.js';\nexport const f = async () => { const c = await getDatabaseClient(); return c.execute('a'); };\n`,
    after: `import { acquireDbLease } from 'cenote/connection-manager';\nexport const f = async () => { const lease = await acquireDbLease('f'); try { return await lease.execute('a'); } finally { lease.release(); } };\n`,
  },
  {
    name: 'the name lease is taken',
    file: 'api/taken.js',
    before: `import { getDatabaseClient } from '../lib/database.js';\nexport async function f(lease) {\n  const c = await getDatabaseClient();\n  await c.execute('a', [lease]);\n}\n`,
    after: `import { acquireDbLease } from 'cenote/connection-manager';\nexport async function f(lease) {\n  const c = await acquireDbLease('f');\n  try {\n    await c.execute('a', [lease]);\n  } finally {\n    c.release();\n  }\n}\n`,
  },
  {
    name: 'a function that takes a lease while its caller holds one is named',
    file: 'api/nested.js',
    before: `import { getDatabaseClient } from '../lib/database.js';\nasync function inner() {\n  const a = await getDatabaseClient();\n  await a.execute('a');\n}\nexport async function outer() {\n  const b = await getDatabaseClient();\n  await inner();\n  await b.execute('b');\n}\n`,
    after: `import { acquireDbLease } from 'cenote/connection-manager';\nasync function inner() {\n  const lease = await acquireDbLease('inner');\n  try {\n    await lease.execute('a');\n  } finally {\n    lease.release();\n  }\n}\nexport async function outer() {\n  const lease = await acquireDbLease('outer');\n  try {\n    await inner();\n    await lease.execute('b');\n  } finally {\n    lease.release();\n  }\n}\n`,
    notes: [/:8: inner\(\): takes a lease of its own \(line 3\)/],
  },
  {
    name: 'TypeScript',
    file: 'a.ts',
    before: `import { Pool, type QueryResult } from 'pg';\nimport { neon } from '@neondatabase/serverless';\n\ninterface User { id: number }\nconst sql = neon(process.env.DATABASE_URL!);\nconst pool: Pool = new Pool({ connectionString: process.env.DATABASE_URL as string });\nexport async function users<T extends User>(): Promise<QueryResult<T>> {\n  await sql\`SELECT 1\`;\n  return pool.query<T>('SELECT 1');\n}\n`,
    after: `import { Pool, type QueryResult } from 'pg';\nimport { getNeonClient, getPgPool } from 'cenote/connection-pool';\n\ninterface User { id: number }\nconst sql = getNeonClient();\nconst pool: Pool = getPgPool();\nexport async function users<T extends User>(): Promise<QueryResult<T>> {\n  await sql\`SELECT 1\`;\n  return pool.query<T>('SELECT 1');\n}\n`,
  },
  {
    name: 'JSX in a .js file, and TypeScript with JSX',
    file: 'page.tsx',
    before: `import { neon } from '@neondatabase/serverless';\nexport default async function Page({ id }: { id: string }) {\n  const sql = neon(process.env.DATABASE_URL!);\n  const rows = await sql\`SELECT \${id}\`;\n  return <ul>{rows.map((r) => <li key={r.id}>it's {r.name}</li>)}</ul>;\n}\n`,
    after: `import { getNeonClient } from 'cenote/connection-pool';\nexport default async function Page({ id }: { id: string }) {\n  const sql = getNeonClient();\n  const rows = await sql\`SELECT \${id}\`;\n  return <ul>{rows.map((r) => <li key={r.id}>it's {r.name}</li>)}</ul>;\n}\n`,
  },
  {
    name: 'JSX in a .js file',
    before: `import { neon } from '@neondatabase/serverless';\nconst sql = neon(process.env.DATABASE_URL);\nexport const P = async () => <b>{(await sql\`SELECT 1\`).length}</b>;\n`,
    after: `import { getNeonClient } from 'cenote/connection-pool';\nconst sql = getNeonClient();\nexport const P = async () => <b>{(await sql\`SELECT 1\`).length}</b>;\n`,
  },
  {
    name: 'a mention in a comment or a string is no use',
    before: `// neon(process.env.DATABASE_URL)\nconst text = "new Pool()";\nfunction neon(x) { return x; }\nclass Pool {}\nnew Pool();\nneon(process.env.DATABASE_URL);\n`,
    left: [],
  },

  {
    name: 'comments among the names of an import and the arguments of a call',
    before: `// header comment\nimport { neon /* inline */ } from '@neondatabase/serverless'; // trailing\n/* before */ const sql = /* in */ neon( /* arg */ process.env.DATABASE_URL /* after */ ); // end\nexport { sql };\n`,
    after: `// header comment\nimport { getNeonClient /* inline */ } from 'cenote/connection-pool'; // trailing\n/* before */ const sql = /* in */ getNeonClient( /* arg */ /* after */); // end\nexport { sql };\n`,
  },
  {
    name: 'comments of an import over several lines',
    before: `import {\n  // ours\n  Pool, // the pool\n  Client, // one client\n} from 'pg'; // driver\nexport const p = new Pool(/* all */ { connectionString: process.env.DATABASE_URL /* url */ });\nexport async function f() {\n  const c = new /* now */ Client(process.env.DATABASE_URL); // made\n  await c.connect(/* soon */); // connected\n  await c.query('a');\n  await c.end(/* bye */); // ended\n}\n`,
    after: `import {\n  // ours\n  getPgPool, // the pool\n  // one client\n} from 'cenote/connection-pool'; // driver\nexport const p = getPgPool(/* all */ { connectionString: process.env.DATABASE_URL /* url */ });\nexport async function f() {\n  const c = await getPgPool/* now */().connect(); // made\n  /* soon */ // connected\n  try {\n    await c.query('a');\n  } finally {\n    c.release();\n  }\n  /* bye */ // ended\n}\n`,
  },
  {
    name: 'comments of a require, and of a name that goes',
    file: 'a.cjs',
    before: `const { Pool /* p */, /* t */ types } = require(/* here */ 'pg');\nconst /* n */ neon = require('@neondatabase/serverless').neon;\nconst /* url */ url = process.env.DATABASE_URL; // where\nmodule.exports = { pool: new Pool({ connectionString: url }), sql: neon(url), builtins: types.builtins };\n`,
    after: `const { /* p */ /* t */ types } = require(/* here */ 'pg');\nconst { getNeonClient, getPgPool } = require('cenote/connection-pool');\n/* n */\n/* url */ // where\nmodule.exports = { pool: getPgPool(), sql: getNeonClient(), builtins: types.builtins };\n`,
  },
  {
    name: 'a declarator between others goes, with comments behind each',
    file: 'a.cjs',
    before: `const pg = require('pg'), // driver\n  neon = require('@neondatabase/serverless').neon, // http\n  fs = require('fs'), old = neon; // files\nmodule.exports = { sql: old(process.env.DATABASE_URL), pool: new pg.Pool({ connectionString: process.env.DATABASE_URL }), fs };\n`,
    after: `const { getNeonClient, getPgPool } = require('cenote/connection-pool'), // driver\n  // http\n  fs = require('fs'); // files\nmodule.exports = { sql: getNeonClient(), pool: getPgPool(), fs };\n`,
  },
  {
    name: 'declarators of one statement that all go',
    before: `import pg from 'pg';\nconst { Pool } = pg, url = process.env.DATABASE_URL;\nconst { Pool: P2 } = pg, one = 1, two = process.env.DATABASE_URL;\nexport const pool = new Pool({ connectionString: url });\nexport const more = [new P2({ connectionString: two }), one];\n`,
    after: `import { getPgPool } from 'cenote/connection-pool';\nconst one = 1;\nexport const pool = getPgPool();\nexport const more = [getPgPool(), one];\n`,
  },
  {
    name: 'a mode of a transaction, and its close',
    file: 'api/mode.js',
    before: `import { getDatabaseClient } from '../lib/database.js';\nexport async function f() {\n  const db = await getDatabaseClient();\n  const tx = await db.transaction('write');\n  try {\n    await tx.commit();\n  } finally {\n    tx.close();\n  }\n}\n`,
    after: `import { acquireDbLease } from 'cenote/connection-manager';\nexport async function f() {\n  const lease = await acquireDbLease('f');\n  try {\n    const tx = await lease.transaction('write');\n    try {\n      await tx.commit();\n    } finally {\n      tx.close();\n    }\n  } finally {\n    lease.release();\n  }\n}\n`,
  },
  {
    name: 'a transaction in one text is given to a pool',
    before: `import { Pool } from 'pg';\nconst pool = new Pool({ connectionString: process.env.DATABASE_URL });\nawait pool.query('BEGIN; SET LOCAL x = 1; COMMIT');\n`,
    after: `import { getPgPool } from 'cenote/connection-pool';\nconst pool = getPgPool();\nawait pool.query('BEGIN; SET LOCAL x = 1; COMMIT');\n`,
  },
  {
    name: 'a Pool of a host keeps its options; callbacks stay',
    before: `import { Pool } from 'pg';\nconst pool = new Pool({ host: process.env.DB_HOST || 'localhost', port: 5432, database: 'app', application_name: 'app', keepAlive: true });\nexport const f = (done) => pool.query('SELECT 1', (error, result) => done(error, result));\n`,
    after: `import { getPgPool } from 'cenote/connection-pool';\nconst pool = getPgPool({ host: process.env.DB_HOST || 'localhost', port: 5432, database: 'app', application_name: 'app', keepAlive: true });\nexport const f = (done) => pool.query('SELECT 1', (error, result) => done(error, result));\n`,
  },
  {
    name: 'parsers of types that the pool gets as an option',
    before: `import pg from 'pg';\npg.types.setTypeParser(20, Number);\nexport const pool = new pg.Pool({ connectionString: process.env.DATABASE_URL, types: pg.types });\n`,
    after: `import pg from 'pg';\nimport { getPgPool } from 'cenote/connection-pool';\npg.types.setTypeParser(20, Number);\nexport const pool = getPgPool({ connectionString: process.env.DATABASE_URL, types: pg.types });\n`,
  },

  {
    name: 'a Client and a lease at once: the second is left, also by a second run',
    file: 'api/both.mjs',
    before: `import { Client } from 'pg';\nimport { getDatabaseClient } from '../lib/database.js';\nconst client = new Client(process.env.DATABASE_URL);\nawait client.connect();\nconst db = await getDatabaseClient();\nawait db.execute((await client.query('a')).rows[0].text);\nawait client.end();\n`,
    after: `import { getPgPool } from 'cenote/connection-pool';\nimport { getDatabaseClient } from '../lib/database.js';\nconst client = await getPgPool().connect();\ntry {\n  const db = await getDatabaseClient();\n  await db.execute((await client.query('a')).rows[0].text);\n} finally {\n  client.release();\n}\n`,
    left: [/:5: getDatabaseClient\(\): a lease is held here already/],
  },
  {
    name: 'a comment that begins on the line of the client',
    file: 'api/comment.js',
    before: `import { getDatabaseClient } from '../lib/database.js';\nexport async function f(x) {\n  const db = await getDatabaseClient(); /* starts\n  here */ const y = await db.execute('a', [x]);\n  return y;\n}\n`,
    after: `import { acquireDbLease } from 'cenote/connection-manager';\nexport async function f(x) {\n  const lease = await acquireDbLease('f'); /* starts\n  here */ try { const y = await lease.execute('a', [x]);\n  return y; } finally { lease.release(); }\n}\n`,
  },
  {
    name: 'options with a comment move into the try of the connect',
    file: 'a.cjs',
    before: `const { Client } = require('pg');\nexports.f = async () => {\n  const c = new Client({\n    connectionString: process.env.DATABASE_URL,\n    ssl: { rejectUnauthorized: false } // here\n  });\n  try {\n    await c.connect();\n    return (await c.query('a')).rows;\n  } finally {\n    await c.end();\n  }\n};\n`,
    after: `const { getPgPool } = require('cenote/connection-pool');\nexports.f = async () => {\n  let c;\n  try {\n    c = await getPgPool({\n      connectionString: process.env.DATABASE_URL,\n      ssl: { rejectUnauthorized: false } // here\n    }).connect();\n    return (await c.query('a')).rows;\n  } finally {\n    c?.release();\n  }\n};\n`,
  },
  {
    name: 'a method that takes a lease while another holds one, a try in one line, a step of four among two',
    file: 'api/service.js',
    before: `import { getDatabaseClient } from '../lib/database.js';\nconst one = 1\n    , two = 2\nexport class S {\n  async #audit() { let db; try { db = await getDatabaseClient(); await db.execute('a'); } catch { /* so what */ } }\n  async buy() {\n    const db = await getDatabaseClient()\n    await this.#audit()\n    await db.execute('b', [one, two])\n  }\n}\n`,
    after: `import { acquireDbLease } from 'cenote/connection-manager';\nconst one = 1\n    , two = 2\nexport class S {\n  async #audit() { let db; try { db = await acquireDbLease('audit'); await db.execute('a'); } catch { /* so what */ } finally { db?.release(); } }\n  async buy() {\n    const lease = await acquireDbLease('buy')\n    try {\n      await this.#audit()\n      await lease.execute('b', [one, two])\n    } finally {\n      lease.release()\n    }\n  }\n}\n`,
    notes: [/:8: this\.audit\(\): takes a lease of its own \(line 5\)/],
  },
  {
    name: 'members of a namespace as values, and an import that TypeScript alone has',
    file: 'a.ts',
    before: `import * as pg from 'pg';\nimport neon = require('@neondatabase/serverless');\nexport class Mine extends pg.Pool {}\nexport const is = (x: unknown) => x instanceof pg.Client;\nexport const sql = neon.neon(process.env.DATABASE_URL!);\n`,
    left: [/:2: @neondatabase\/serverless: an import of this form is not followed/, /:3: Pool: it is used as a value/, /:4: Client: it is used as a value/],
  },

  // What cannot be proved.
  ...[
    ['parsers of types for all pools', `types.setTypeParser(20, Number);\nexport const pool = new Pool({ connectionString: process.env.DATABASE_URL });`, /:2: types: its parsers/, /new Pool\(\): types\.setTypeParser \(a\.js:2\) does not reach Cenote's pool: give it types among its options/],
    ['defaults for all pools', `defaults.ssl = true;\nexport const pool = new Pool({ connectionString: process.env.DATABASE_URL });`, /:2: defaults: its settings/, /defaults\.ssl \(a\.js:2\) does not reach Cenote's pool: write ssl among its options/],
    ['BEGIN given to a pool', `const pool = new Pool({ connectionString: process.env.DATABASE_URL });\nexport async function f() {\n  await pool.query('BEGIN');\n}`, /:2: new Pool\(\): a statement that needs one session is given to the pool itself \(a\.js:4\)/, /:4: pool\.query\(\): .* take a client with connect\(\)/],
    ['BEGIN given to the pool of an object', `export class Db {\n  #pool = new Pool({ connectionString: process.env.DATABASE_URL });\n  begin() { return this.#pool.query({ text: 'begin isolation level serializable' }); }\n}`, /:3: new Pool\(\): a statement that needs one session/, /:4: this\.pool\.query\(\)/],
    ['BEGIN behind a comment, given to a pool', `const pool = new Pool({ connectionString: process.env.DATABASE_URL });\nawait pool.query('-- first\\n/* now */ begin');`, /:2: new Pool\(\): a statement that needs one session/, /:3: pool\.query/],
    ['BEGIN given to a function of the pool', `const pool = new Pool({ connectionString: process.env.DATABASE_URL });\nconst query = (text, values) => pool.query(text, values);\nexport const f = () => query('START TRANSACTION');`, /:2: new Pool\(\): a statement that needs one session/, /:4: query\(\)/],
    ['BEGIN given to a method of the pool\'s holder', `class Db {\n  constructor() { this.pool = new Pool({ connectionString: process.env.DATABASE_URL }); }\n  query(text, values) { return this.pool.query(text, values); }\n}\nexport const db = new Db();\nexport const f = () => db.query('BEGIN');`, /:3: new Pool\(\): a statement that needs one session/, /:7: db\.query\(\)/],
    ['BEGIN given to a static method', `class Db {\n  static pool = new Pool({ connectionString: process.env.DATABASE_URL });\n  static run(text) { return Db.pool.query(text); }\n}\nawait Db.run('BEGIN');`, /:3: new Pool\(\): a statement that needs one session/, /:6: Db\.run\(\)/],
    ['a setting of the session given to a pool', `const pool = new Pool({ connectionString: process.env.DATABASE_URL });\nawait pool.query(\`SET search_path TO \${process.env.SCHEMA}\`);`, /:2: new Pool\(\): a statement that needs one session/, /:3: pool\.query/],
    ['a cursor', `import Cursor from 'pg-cursor';\nconst pool = new Pool({ connectionString: process.env.DATABASE_URL });\nexport async function f() {\n  const c = await pool.connect();\n  return c.query(new Cursor('SELECT 1')).read(10);\n}`, /:3: new Pool\(\): pg-cursor \(a\.js:6\) gives query\(\) an object/, /:6: pg-cursor: query objects/],
    ['a package that a test replaces', `vi.mock('pg', () => ({ Pool: vi.fn() }));\nexport const pool = new Pool({ connectionString: process.env.DATABASE_URL });`, /:2: vi\.mock: what is migrated does not ask 'pg'/, /:3: new Pool\(\): this file puts something else in the place of 'pg'/],
    ['a Pool of a function that listens', `export async function f() {\n  const pool = new Pool({ connectionString: process.env.DATABASE_URL });\n  pool.on('error', console.error);\n  await pool.end();\n}`, /:4: new Pool\(\): each call of the function would add a listener/],
    ['a Client of a generator', `export async function* f() {\n  const c = new Client(process.env.DATABASE_URL);\n  await c.connect();\n  try {\n    yield (await c.query('a')).rows;\n  } finally {\n    await c.end();\n  }\n}`, /:6: new Client\(\): whoever asks this generator/],
  ].map(([name, code, ...left]) => ({
    name: /** @type {string} */ (name),
    before: `import { Client, Pool, defaults, types } from 'pg';\n${code}\n`,
    left: /** @type {RegExp[]} */ (left),
  })),
  ...[
    ['another URL', `neon(process.env.OTHER_URL);`, /its URL is not process\.env\.DATABASE_URL/],
    ['options of neon', `neon(process.env.DATABASE_URL, { fullResults: true });`, /options of its own/],
    ['a Pool without a URL', `new Pool();`, /PGHOST/],
    ['a Pool whose host may be unset', `new Pool({ host: process.env.DB_HOST, port: 5432 });`, /host may be unset/],
    ['a Pool with the parts of a database and no host', `new Pool({ database: 'x' });`, /without a URL or a host/],
    ['an option that the pool refuses', `new Pool({ connectionString: process.env.DATABASE_URL, binary: true });`, /does not take 'binary': its results are never binary/],
    ['an option of ssl that the pool has not', `new Pool({ connectionString: process.env.DATABASE_URL, ssl: process.env.CI ? false : { require: true, rejectUnauthorized: false } });`, /ssl has no option 'require'/],
    ['a Pool with a spread', `new Pool({ ...process.env });`, /cannot be read/],
    ['a Pool with computed options', `new Pool(options());\nfunction options() {}`, /cannot be read/],
    ['a subclass of Pool', `class Mine extends Pool {}`, /used as a value/],
    ['a Client of the module', `const c = new Client(process.env.DATABASE_URL);\nawait c.connect();\nexport const f = () => c.query('a');`, /may run after the block/],
    ['a Client without connect', `export async function f() {\n  const c = new Client(process.env.DATABASE_URL);\n  await c.query('a');\n}`, /not connected exactly once/],
    ['a Client that is handed on', `export async function f(g) {\n  const c = new Client(process.env.DATABASE_URL);\n  await c.connect();\n  await g(c);\n  await c.end();\n}`, /handed on/],
    ['a Client that listens', `export async function f() {\n  const c = new Client(process.env.DATABASE_URL);\n  await c.connect();\n  c.on('notification', console.log);\n  await c.query('LISTEN x');\n}`, /no on\(\)/],
    ['a Client that changes its session', `export async function f() {\n  const c = new Client(process.env.DATABASE_URL);\n  await c.connect();\n  await c.query('SET search_path TO x');\n  await c.end();\n}`, /changes the session/],
    ['a query that nobody waits for', `export async function f() {\n  const c = new Client(process.env.DATABASE_URL);\n  await c.connect();\n  c.query('a');\n  await c.end();\n}`, /not awaited/],
    ['a catch that would see more', `export async function f() {\n  const c = new Client(process.env.DATABASE_URL);\n  await c.connect();\n  try {\n    return c.query('a');\n  } catch (e) {\n    return null;\n  } finally {\n    await c.end();\n  }\n}`, /the catch would see/],
  ].map(([name, code, why]) => ({
    name: /** @type {string} */ (name),
    before: `import { neon } from '@neondatabase/serverless';\nimport { Client, Pool } from 'pg';\n${code}\n`,
    left: [/** @type {RegExp} */ (why)],
  })),
  ...[
    ['a client that is returned', `export const f = async () => await getDatabaseClient();`, /leaves the function/],
    ['a client kept in an object', `export class A { async init() { this.db = await getDatabaseClient(); } }`, /kept in an object/],
    ['a client without a name', `export const f = async () => (await getDatabaseClient()).execute('a');`, /no name of its own/],
    ['a promise that is handed on', `export const f = () => getDatabaseClient().then((c) => c.execute('a'));`, /handed on/],
    ['a call in a timer', `export async function f() {\n  const c = await getDatabaseClient();\n  setTimeout(async () => { await c.execute('a'); }, 1);\n}`, /may run after the block/],
    ['a method that a lease has not', `export async function f() {\n  const c = await getDatabaseClient();\n  await c.executeMultiple('a');\n}`, /no executeMultiple\(\)/],
    ['an eval', `export async function f() {\n  const db = await getDatabaseClient();\n  eval("db.execute('a')");\n  await db.execute('b');\n}`, /:4: getDatabaseClient\(\): eval\(\) may use 'db' here/],
    ['a yield', `export async function* f() {\n  const db = await getDatabaseClient();\n  yield (await db.execute('a')).rows;\n}`, /:4: getDatabaseClient\(\): whoever asks this generator/],
    ['a pragma', `export async function f() {\n  const db = await getDatabaseClient();\n  await db.execute('PRAGMA foreign_keys = ON');\n}`, /changes the session/],
    ['Promise.race', `export async function f() {\n  const c = await getDatabaseClient();\n  await Promise.race([c.execute('a'), c.execute('b')]);\n}`, /not awaited/],
    ['a name used before', `export async function f() {\n  g();\n  const c = await getDatabaseClient();\n  const x = await c.execute('a');\n  await c.execute('b', [x]);\n  function g() { return x; }\n}`, /used before/],
    ['a second client while one is held', `export async function f() {\n  const a = { execute() {} };\n  const c = await getDatabaseClient({});\n  await a.execute(c);\n}`, /has arguments/],
    ['a second client in another alias', `export async function f() {\n  const { execute } = await getDatabaseClient();\n  await execute('a');\n}`, /plain constant/],
  ].map(([name, code, why]) => ({
    name: /** @type {string} */ (name),
    file: 'api/left.js',
    before: `import { getDatabaseClient } from '../lib/database.js';\n${code}\n`,
    left: [/** @type {RegExp} */ (why)],
  })),
];
