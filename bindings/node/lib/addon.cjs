/**
 * addon.cjs - finds and loads the addon, once for each thread of Node's.
 *
 * It is loaded with RTLD_DEEPBIND: Node carries an OpenSSL of its own, and without it libpq's calls would land there.
 */
'use strict';

const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { explain, refuseOld } = require('./missing.cjs');

/** Where it may be: named, packed with us, or built in the source tree. */
function places() {
  const home = path.join(__dirname, '..');
  return [
    process.env.CENOTE_NODE_ADDON,
    path.join(home, 'cenote.node'),
    path.join(home, '..', '..', 'build', 'node', 'bindings', 'node', 'cenote.node'),
  ].filter((place) => place);
}

function load() {
  refuseOld();
  const file = places().find((place) => fs.existsSync(place));
  if (file === undefined) {
    throw new Error(`cenote: the addon is not built (looked for ${places().join(', ')})`);
  }
  const { RTLD_NOW, RTLD_DEEPBIND = 0 } = os.constants.dlopen;
  const module = { exports: {} };
  try {
    // The address sanitizer cannot live with it; tests turn it off.
    process.dlopen(module, path.resolve(file),
      RTLD_NOW | (process.env.CENOTE_NODE_DEEPBIND === '0' ? 0 : RTLD_DEEPBIND));
  } catch (error) {
    throw explain(error);
  }
  return module.exports;
}

module.exports = load();
