// The packed npm package as a new user meets it: installed into an empty project without a network, used from
// ECMAScript modules, CommonJS and TypeScript, on each version of Node.js. CENOTE_PACKAGE_TOOLS is a folder whose
// node_modules has the TypeScript compiler; project.mjs tells of the rest.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { before, test } from 'node:test';
import { install, installed, project, put, run, SOURCE, versions } from './project.mjs';

const TYPES = path.join(SOURCE, 'tests', 'package', 'types');
const TOOLS = path.join(process.env.CENOTE_PACKAGE_TOOLS, 'node_modules');
const postgres = process.env.CENOTE_TEST_POSTGRES_URL;
let manifest;

/** Every file below, as a path from there. */
function filesOf(root, below = '') {
  return fs.readdirSync(path.join(root, below), { withFileTypes: true }).flatMap((entry) => {
    const name = path.join(below, entry.name);
    return entry.isDirectory() ? filesOf(root, name) : [name];
  }).sort();
}

before(() => {
  manifest = install();
});

test('an empty project gets the one package, and nothing runs at its installation', () => {
  assert.deepEqual(
    fs.readdirSync(path.join(project, 'node_modules')).filter((name) => !name.startsWith('.')),
    ['cenote']
  );
  assert.equal(manifest.scripts, undefined);
  assert.equal(fs.existsSync(path.join(installed, 'binding.gyp')), false);
  assert.deepEqual(fs.readdirSync(path.join(project, 'node_modules', '.bin')).sort(), [
    'cenote-migrate',
    'cenote-verify',
  ]);
});

test('the package holds what it needs and nothing else', () => {
  const own = filesOf(installed).filter((name) => !name.startsWith('node_modules/'));
  const expected = ['LICENSE', 'NOTICE', 'README.md', 'cenote.node', 'package.json'];
  for (const part of ['lib', 'man', 'migrate', 'types', 'verify']) {
    expected.push(...filesOf(path.join(SOURCE, 'bindings', 'node', part)).map((name) => path.join(part, name)));
  }
  expected.push(...expected.filter((name) => name.endsWith('.d.ts')).map((name) => name.replace(/ts$/, 'cts')));
  assert.deepEqual(own, expected.sort());
  assert.deepEqual(own.filter((name) => !/\.(cjs|mjs|d\.ts|d\.cts|md|node|json|1)$|^(LICENSE|NOTICE)$/.test(name)), []);
  const bundled = new Set(
    filesOf(path.join(installed, 'node_modules'))
      .filter((name) => !name.startsWith('.'))
      .map((name) => /^(@[^/]+\/)?[^/]+/.exec(name)[0])
  );
  assert.deepEqual([...bundled].sort(), Object.keys(manifest.dependencies).sort());
  assert.deepEqual([...manifest.bundleDependencies].sort(), Object.keys(manifest.dependencies).sort());
  assert.ok(fs.statSync(process.env.CENOTE_PACKAGE).size < 3 << 20, 'it is small');
});

test('what package.json names is there, and it says which machine it is for', () => {
  const named = [
    ...Object.values(manifest.bin),
    ...manifest.man,
    ...JSON.stringify(manifest.exports).match(/\.\/[\w./-]+\.(cjs|mjs|d\.ts|d\.cts)/g),
  ];
  assert.ok(named.length >= 8);
  for (const name of named) assert.ok(fs.existsSync(path.join(installed, name)), name);
  assert.deepEqual([manifest.os, manifest.cpu, manifest.libc], [['linux'], [process.arch], ['glibc']]);
  assert.equal(manifest.license, 'MIT');
  assert.equal(manifest.devDependencies, undefined);
});

test('no text in it names a folder of the machine it was made on', () => {
  const strange = filesOf(installed).filter((name) =>
    fs.readFileSync(path.join(installed, name), 'latin1').includes(SOURCE + path.sep));
  assert.deepEqual(strange, []);
});

const USE = `
  const lease = await acquireDbLease('new-user');
  const { rows } = await lease.execute('SELECT CAST(? AS integer) + 1 AS n', [41]);
  lease.release();
  console.log(rows[0].n, Object.keys(all).length > 0, all.acquireDbLease === other.acquireDbLease);
`;

for (const [version, bin] of versions) {
  test(`it works on Node.js ${version}, by import and by require, and lets the process end`, () => {
    put('use.mjs', `import { createRequire } from 'node:module';\nimport * as all from 'cenote/connection-manager';
      import { acquireDbLease } from 'cenote/connection-manager';\nconst other = createRequire(import.meta.url)('cenote/connection-manager');\n${USE}`);
    put(
      'use.cjs',
      `const all = require('cenote/connection-manager');\nconst { acquireDbLease } = all;\nimport('cenote/connection-manager').then(async (other) => {${USE}});\n`
    );
    for (const url of ['file:new.db', ...(postgres ? [postgres] : [])]) {
      for (const file of ['use.mjs', 'use.cjs']) {
        const { out, err } = run('node', [file], { bin, env: { DATABASE_URL: url, CENOTE_SLOW_STATEMENT_MS: '0' } });
        assert.equal(out, '42 true true\n');
        assert.equal(err, '');
      }
    }
    assert.match(run('node', ['--version'], { bin }).out, new RegExp(`^v${version}\\.`));
  });

  test(`every export of it loads on Node.js ${version}, with the same names both ways`, () => {
    const modules = Object.entries(manifest.exports)
      .filter(([, entry]) => typeof entry === 'object')
      .map(([name]) => `cenote${name.slice(1)}`);
    put('every.cjs', `(async () => { for (const name of ${JSON.stringify(modules)}) {
      const names = (all) => Object.keys(all).filter((one) => one !== 'default' && one !== 'module.exports').sort().join();
      if (!names(require(name)) || names(require(name)) !== names(await import(name))) { console.log(name, names(require(name)), '!=', names(await import(name))); }
    } })();`);
    assert.equal(run('node', ['every.cjs'], { bin }).out, '');
  });

  test(`both commands run by npx on Node.js ${version}`, () => {
    fs.rmSync(path.join(project, 'old'), { recursive: true, force: true });
    put(
      'old/db.ts',
      `import { neon } from '@neondatabase/serverless';\nexport const sql: any = neon(process.env.DATABASE_URL!);\n`
    );
    const { out } = run('npx', ['--offline', '--no', 'cenote-migrate', 'old'], { bin });
    assert.match(out, /\+import \{ getNeonClient \} from 'cenote\/connection-pool';/);
    assert.match(fs.readFileSync(path.join(project, 'old/db.ts'), 'utf8'), /sql: any = getNeonClient\(\);/);
    assert.match(
      run('npx', ['--offline', '--no', '--', 'cenote-verify', '--help'], { bin }).out,
      /^Usage: cenote-verify/
    );
  });
}

test('what cenote-migrate writes names exports that there are', () => {
  const load = createRequire(path.join(project, 'x.js'));
  const { getNeonClient, getPgPool } = load('cenote/connection-pool');
  const { acquireDbLease } = load('cenote/connection-manager');
  for (const [name, value] of Object.entries({ getNeonClient, getPgPool, acquireDbLease })) {
    assert.equal(typeof value, 'function', name);
  }
});

for (const page of ['README.md', 'bindings/node/README.md']) {
  const text = fs.readFileSync(path.join(SOURCE, page), 'utf8');
  const programs = [...text.matchAll(/^```js\n(import [^]*?)^```/gm)].map((match) => match[1])
    .filter((program) => program.includes("from 'cenote/"));
  test(`${page}: its programs for this package run and print what their comments say`, () => {
    assert.ok(programs.length > 0);
    for (const program of programs) {
      const file = put('page.mjs', program);
      const expected = [...program.matchAll(/^ *console\.log.*\/\/ (.*)$/gm)].map((match) => `${match[1]}\n`).join('');
      const urls = program.includes('connection-pool') ? [postgres] : ['file:page.db', postgres];
      for (const url of urls.filter(Boolean)) {
        assert.equal(run('node', [file], { env: { DATABASE_URL: url } }).out, expected);
      }
    }
  });
}

test('a missing system library is named, with its Debian package', () => {
  const { PACKAGES } = createRequire(import.meta.url)(path.join(installed, 'lib', 'missing.cjs'));
  const needed = run('readelf', ['-d', path.join(installed, 'cenote.node')]).out.matchAll(
    /\(NEEDED\).*\[((lib\w+)\.so[.\d]*)\]/g
  );
  for (const [, file, stem] of needed) {
    if (stem === 'libc' || stem === 'libm') continue;
    assert.ok(PACKAGES[stem], `${stem} has a package`);
    const without = Buffer.from(
      fs.readFileSync(path.join(installed, 'cenote.node'), 'latin1').replaceAll(file, `${file.slice(0, -1)}9`),
      'latin1'
    );
    const { err } = run('node', ['-e', "require('cenote/connection-manager').getConnectionManager()"],
      { env: { CENOTE_NODE_ADDON: put('without.node', without) }, status: 1 });
    assert.ok(
      err.includes(
        `Error: cenote: the system library ${file.slice(0, -1)}9 is missing (Debian: apt-get install ${PACKAGES[stem][0]}`
      ),
      err
    );
    assert.match(err, /CENOTE_LIBRARY_MISSING/);
  }
});

test('an old Node.js is refused by name, the oldest that package.json takes is not', () => {
  const { refuseOld } = createRequire(import.meta.url)(path.join(installed, 'lib', 'missing.cjs'));
  const oldest = Number(/\d+/.exec(manifest.engines.node)[0]);
  assert.throws(() => refuseOld(`${oldest - 1}.9.1`), {
    code: 'CENOTE_NODE_VERSION',
    message: /Node\.js 17\.9\.1 is too old.* 18 or later/,
  });
  refuseOld(`${oldest}.0.0`);
});

test('the declarations name the settings that docs/settings.md names', () => {
  const [, table] = /## The table([^]*?)\n## /.exec(fs.readFileSync(path.join(SOURCE, 'docs', 'settings.md'), 'utf8'));
  const documented = [...table.matchAll(/^\| `\w+` \| `(\w+)` \|/gm)].map((match) => match[1]);
  const declared = [
    ...fs.readFileSync(path.join(installed, 'types', 'settings.d.ts'), 'utf8').matchAll(/^  (\w+)\?: /gm),
  ].map((match) => match[1]);
  assert.ok(documented.length > 40);
  const [, comments] = /^export interface Settings \{\n([^]*)\}\n$/m.exec(
    fs.readFileSync(path.join(installed, 'types', 'settings.d.ts'), 'utf8'));
  const said = comments.match(/\/\*\*[^]*?\*\//g).map((text) => text.replace(/\W+/g, ' ').replace(/ Default .*/, ''));
  assert.deepEqual(said.filter((text, i) => said.indexOf(text) !== i), [], 'each has a comment of its own');
  // `log` is beside them: it may be a function, too.
  assert.deepEqual(declared.sort(), [...documented.filter((name) => name !== 'log'), 'profile'].sort());
});

// ------------------------------------------------------------------ TypeScript

const STRICT = {
  strict: true,
  noUncheckedIndexedAccess: true,
  exactOptionalPropertyTypes: true,
  noEmit: true,
  skipLibCheck: false,
  target: 'es2022',
};

function compile(name, options, files, type) {
  const root = `typed-${name}`;
  put(`${root}/package.json`, JSON.stringify({ private: true, type }));
  for (const file of files) put(`${root}/${file}`, fs.readFileSync(path.join(TYPES, file)));
  put(
    `${root}/tsconfig.json`,
    JSON.stringify({
      compilerOptions: { ...STRICT, types: ['node'], typeRoots: [path.join(TOOLS, '@types')], ...options },
      files,
    })
  );
  run(process.execPath, [path.join(TOOLS, 'typescript', 'bin', 'tsc'), '-p', root]);
}

const typed = () => fs.readdirSync(TYPES).filter((name) => name.endsWith('.ts')).sort();

test('every export has a test of its types', () => {
  const modules = Object.entries(manifest.exports)
    .filter(([, entry]) => typeof entry === 'object')
    .map(([name]) => `${name.slice(2) || 'index'}.ts`);
  assert.deepEqual(typed(), modules.sort());
});

test('the types hold in a strict project of ECMAScript modules', () => {
  compile('esm', { module: 'nodenext', moduleResolution: 'nodenext' }, typed(), 'module');
});

test('the types hold in a strict project of CommonJS', () => {
  compile('cjs', { module: 'node16', moduleResolution: 'node16' }, typed(), 'commonjs');
});

test('the types hold for a bundler, and for the older way to find modules', () => {
  compile('bundler', { module: 'esnext', moduleResolution: 'bundler' }, typed(), 'module');
  compile('node10', { module: 'commonjs', moduleResolution: 'node10', ignoreDeprecations: '5.0' }, typed(), 'commonjs');
});

test('the declarations name what the modules export, no more and no less', () => {
  const ts = createRequire(import.meta.url)(path.join(TOOLS, 'typescript'));
  for (const [name, entry] of Object.entries(manifest.exports)) {
    if (typeof entry !== 'object') continue;
    const file = path.join(installed, entry.import.types);
    const program = ts.createProgram([file], {
      module: ts.ModuleKind.NodeNext,
      moduleResolution: ts.ModuleResolutionKind.NodeNext,
      types: [],
    });
    const types = program.getTypeChecker();
    const exported = types
      .getExportsOfModule(types.getSymbolAtLocation(program.getSourceFile(file)))
      .filter(
        (symbol) =>
          (symbol.flags & ts.SymbolFlags.Alias ? types.getAliasedSymbol(symbol) : symbol).flags & ts.SymbolFlags.Value
      )
      .map((symbol) => symbol.name)
      .sort();
    const real = Object.keys(createRequire(path.join(project, 'x.js'))(`cenote${name.slice(1)}`)).sort();
    assert.deepEqual(exported, real, name);
  }
});
