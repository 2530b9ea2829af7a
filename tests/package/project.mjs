// What the tests of the packed package share: an empty project with the tarball in it, and a new user's environment.
// CENOTE_PACKAGE is the tarball, CENOTE_NODE_VERSIONS the folder of Node.js 18, 20 and 22.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { after } from 'node:test';
import { fileURLToPath } from 'node:url';

export const SOURCE = path.join(path.dirname(fileURLToPath(import.meta.url)), '..', '..');
export const versions = [18, 20, 22].map((version) => [version,
  path.join(process.env.CENOTE_NODE_VERSIONS, 'node_modules', `node${version}-${process.arch}`, 'bin')]);

const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'cp-'));
after(() => fs.rmSync(folder, { recursive: true, force: true, maxRetries: 10, retryDelay: 100 }));
export const project = path.join(folder, 'project');
export const installed = path.join(project, 'node_modules', 'cenote');

/** Nothing of ours, and a registry that nobody answers at. */
function environment(bin, more) {
  const mine = Object.entries(process.env).filter(
    ([name]) => !/^(CENOTE_|npm_|PG|NODE_)|^DATABASE_URL$|^DEBUG$/.test(name)
  );
  return { ...Object.fromEntries(mine), HOME: folder, npm_config_cache: path.join(folder, 'cache'),
    npm_config_registry: 'http://127.0.0.1:9/', npm_config_update_notifier: 'false',
    NODE_DISABLE_COMPILE_CACHE: '1', // tsc would leave one in TMPDIR
    PATH: bin ? `${bin}:${process.env.PATH}` : process.env.PATH, ...more };
}

export function run(command, args, { cwd = project, bin = undefined, env = {}, status = 0 } = {}) {
  const done = spawnSync(command, args,
    { cwd, encoding: 'utf8', env: environment(bin, env), timeout: 240000, stdio: ['ignore', 'pipe', 'pipe'] });
  const said = `${command} ${args.join(' ')}\n${done.stdout}${done.stderr}`;
  assert.equal(done.signal, null, said);
  assert.equal(done.status, status, said);
  return { out: done.stdout, err: done.stderr };
}

/** Writes a file of the project's. */
export function put(name, text) {
  const file = path.join(project, name);
  fs.mkdirSync(path.dirname(file), { recursive: true });
  fs.writeFileSync(file, text);
  return file;
}

/** The installation; answers the package.json of what was installed. */
export function install() {
  put('package.json', '{ "name": "empty", "private": true }\n');
  run('npm', ['install', '--offline', '--no-audit', '--no-fund', process.env.CENOTE_PACKAGE]);
  return JSON.parse(fs.readFileSync(path.join(installed, 'package.json'), 'utf8'));
}
