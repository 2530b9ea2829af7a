// The JavaScript of README.md, run as it stands there but for where the gateway listens.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { Gateway, environment } from './gateway.mjs';

const readme = readFileSync(path.join(process.env.CENOTE_SOURCE, 'README.md'), 'utf8');
const programs = [...readme.matchAll(/^```js\n(.*?)^```/gms)].map((match) => match[1]);
const url = process.env.CENOTE_TEST_POSTGRES_TCP_URL;
let postgres, sqlite;

before(async () => {
  postgres = await Gateway.start(['--url', url]);
  sqlite = await Gateway.start([]);
});

after(async () => {
  await postgres?.finish();
  await sqlite?.finish();
});

function run(program, gateway) {
  const file = path.join(import.meta.dirname ?? '.', 'readme-program.mjs');
  writeFileSync(file, program.replaceAll('http://127.0.0.1:3000', gateway.url));
  const done = spawnSync(process.execPath, [file], {
    encoding: 'utf8',
    env: environment({ DATABASE_URL: url }),
    timeout: 120000,
  });
  assert.equal(done.status, 0, done.stderr);
  return done.stdout;
}

test('there are programs for the gateway', () => {
  assert.equal(programs.filter((program) => program.includes('127.0.0.1:3000')).length, 2);
});

for (const [number, program] of programs.entries()) {
  if (program.includes('127.0.0.1:3000')) {
    test(`program ${number + 1} of README prints what its comments say`, () => {
      const expected = [...program.matchAll(/^console\.log.*\/\/ (.*)$/gm)].map((match) => match[1]);
      const said = run(program, program.includes('neon') ? postgres : sqlite);
      assert.deepEqual(said.trimEnd().split('\n'), expected);
    });
  }
}
