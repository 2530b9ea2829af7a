// The peer of bench/gateway.c: what a user would write with Node's own HTTP server and node-postgres. POST /sql with
// {"query", "params"}, a pool of twenty connections, statements prepared by name, Neon's shape of an answer in array
// mode.
import http from 'node:http';
import { createRequire } from 'node:module';

const require = createRequire(`${process.env.BENCH_NODE_PACKAGES}/`);
const { Pool, types } = require('pg');

const raw = { getTypeParser: () => (text) => text };
const pool = new Pool({ connectionString: process.argv[2], max: 20, types: { ...types, ...raw } });
const names = new Map();

function nameOf(text) {
  if (!names.has(text)) {
    names.set(text, `s${names.size}`);
  }
  return names.get(text);
}

const server = http.createServer((request, response) => {
  const pieces = [];
  request.on('data', (piece) => pieces.push(piece));
  request.on('end', async () => {
    try {
      const { query, params } = JSON.parse(Buffer.concat(pieces));
      const result = await pool.query({ name: nameOf(query), text: query, values: params, rowMode: 'array' });
      const body = JSON.stringify({
        fields: result.fields, rows: result.rows, command: result.command, rowCount: result.rowCount, rowAsArray: true,
      });
      response.writeHead(200, { 'Content-Type': 'application/json', 'Content-Length': Buffer.byteLength(body) });
      response.end(body);
    } catch (error) {
      response.writeHead(400, { 'Content-Type': 'application/json' });
      response.end(JSON.stringify({ message: error.message }));
    }
  });
});
server.keepAliveTimeout = 60000;
server.listen(0, '127.0.0.1', () => console.log(`http://127.0.0.1:${server.address().port}`));
