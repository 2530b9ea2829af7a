/** Which addon is loaded: one of this very version, or an error at once that says what is wrong. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { test } from 'node:test';
import { PACKAGE, plainEnvironment, run, scratch } from './support.mjs';

const require = createRequire(import.meta.url);
const { version } = require('../package.json');
const { refuseOther } = require('../lib/missing.cjs');
const folder = scratch();

/** What a program says that uses the addon of that path. */
async function failure(addon) {
  const program = "require('cenote/connection-manager').getConnectionManager({ url: 'sqlite::memory:' })";
  const said = await run(
    ['-e', `try { ${program} } catch (error) { console.log(JSON.stringify([error.code, error.message])); }`],
    { cwd: folder, env: plainEnvironment({ CENOTE_NODE_ADDON: addon }) }
  );
  assert.equal(said.code, 0, said.err);
  return JSON.parse(said.out);
}

test('an addon of another version is refused at once: both versions, its path and what helps are named', async () => {
  const stale = path.join(folder, 'stale.node');
  const built = path.join(PACKAGE, '..', '..', 'build', 'node', 'bindings', 'node', 'cenote.node');
  const text = fs.readFileSync(process.env.CENOTE_NODE_ADDON ?? built, 'latin1');
  fs.writeFileSync(stale, text.replaceAll(`${version}\0`, `${version.replace(/\d+$/, '9')}\0`), 'latin1');
  const [code, message] = await failure(stale);
  assert.equal(code, 'CENOTE_ADDON_VERSION');
  assert.equal(
    message,
    `cenote: the addon ${stale} is of version ${version.replace(/\d+$/, '9')}, and the package beside it of ` +
      `${version}; CENOTE_NODE_ADDON names it: name that of this version, or unset it`
  );
});

test('an addon of the same version whose interface is another one is refused, and a foreign one', () => {
  const own = { version, interface: -1, open() {} };
  assert.throws(() => refuseOther(own, '/a.node'), {
    code: 'CENOTE_ADDON_VERSION',
    message: /older or newer: its interface is -1, \d+ is wanted; /,
  });
  assert.throws(() => refuseOther({ version, open() {} }, '/a.node'), { message: /its interface is not numbered/ });
  assert.throws(() => refuseOther({ hello() {} }, '/a.node'), {
    code: 'CENOTE_ADDON_VERSION',
    message: /the addon \/a\.node is none of cenote's; /,
  });
});

test('CENOTE_NODE_ADDON that names no file is an error, not a reason to take another addon', async () => {
  const [code, message] = await failure('no/such.node');
  assert.equal(code, 'CENOTE_ADDON');
  assert.equal(
    message,
    `cenote: there is no addon (looked for ${path.join(fs.realpathSync(folder), 'no/such.node')}, which CENOTE_NODE_ADDON names)`
  );
});

test('what the system cannot load is named by its path', async () => {
  const broken = path.join(folder, 'broken.node');
  fs.writeFileSync(broken, 'this is no shared library, whatever its name says');
  const [code, message] = await failure(broken);
  assert.equal(code, 'CENOTE_ADDON');
  assert.ok(message.startsWith(`cenote: the addon ${broken} cannot be loaded: ${broken}: `), message);
});
