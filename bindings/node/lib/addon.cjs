/**
 * addon.cjs - finds and loads the addon, once for each thread of Node's.
 *
 * It is loaded with RTLD_DEEPBIND: Node carries an OpenSSL of its own, and without it libpq's calls would land there.
 */
'use strict';

const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { explain, refuseOld, refuseOther } = require('./missing.cjs');

/** Where it may be: named, packed with us, or built in the source tree. */
function places() {
  if (process.env.CENOTE_NODE_ADDON) {
    return [path.resolve(process.env.CENOTE_NODE_ADDON)]; // another one than it names would be a surprise
  }
  const home = path.join(__dirname, '..');
  return [
    path.join(home, 'cenote.node'),
    path.join(home, '..', '..', 'build', 'node', 'bindings', 'node', 'cenote.node'),
  ];
}

function load() {
  refuseOld();
  const file = places().find((place) => fs.existsSync(place));
  if (file === undefined) {
    const named = process.env.CENOTE_NODE_ADDON ? ', which CENOTE_NODE_ADDON names' : '';
    throw Object.assign(new Error(`cenote: there is no addon (looked for ${places().join(', ')}${named})`),
      { code: 'CENOTE_ADDON' });
  }
  const { RTLD_NOW, RTLD_DEEPBIND = 0 } = os.constants.dlopen;
  const module = { exports: {} };
  try {
    // The address sanitizer cannot live with it; tests turn it off.
    process.dlopen(module, file,
      RTLD_NOW | (process.env.CENOTE_NODE_DEEPBIND === '0' ? 0 : RTLD_DEEPBIND));
  } catch (error) {
    throw explain(error, file);
  }
  refuseOther(module.exports, file);
  return module.exports;
}

module.exports = load();
