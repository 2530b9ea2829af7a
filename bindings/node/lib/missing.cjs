/**
 * missing.cjs - says what is missing where the addon cannot be loaded, or is not the one that belongs here: a library,
 * and whose; a newer Node.js; the version.
 */
'use strict';

const { version } = require('../package.json');

/** What crosses between the addon and lib/*.cjs, counted up with each change of it: addon/addon.h has it, too. */
const INTERFACE = 2;

/** What cenote.node is linked with, and who has it: Debian 12, and from Debian 13 and Ubuntu 24.04 on. */
const PACKAGES = {
  libpq: ['libpq5'],
  libsqlite3: ['libsqlite3-0'],
  libcrypto: ['libssl3', 'libssl3t64'],
  libssl: ['libssl3', 'libssl3t64'],
  libcurl: ['libcurl4', 'libcurl4t64'],
  libinih: ['libinih1'],
};

/**
 * The error to throw for what dlopen said.
 * @param {Error} error @param {string} addon its path
 * @returns {Error}
 */
function explain(error, addon) {
  const [, file, stem] = /((lib\w+)\.so[.\d]*): cannot open shared object file/.exec(error.message) ?? [];
  if (file !== undefined) {
    const [name, later] = PACKAGES[stem] ?? [];
    const wanted =
      name === undefined ? '' : ` (Debian: apt-get install ${name}${later ? `, in newer ones ${later}` : ''})`;
    return Object.assign(new Error(`cenote: the system library ${file} is missing${wanted}`, { cause: error }),
      { code: 'CENOTE_LIBRARY_MISSING' });
  }
  if (/version `GLIBC_[\d.]+' not found|musl/.test(error.message)) {
    return Object.assign(
      new Error('cenote: the addon wants glibc 2.34 or later, as Debian 12 has it', { cause: error }),
      { code: 'CENOTE_LIBRARY_MISSING' }
    );
  }
  return Object.assign(
    new Error(`cenote: the addon ${addon} cannot be loaded: ${error.message.trim()}`, { cause: error }),
    { code: 'CENOTE_ADDON' }
  );
}

/** What helps, by where it lies. */
function remedy(addon) {
  if (process.env.CENOTE_NODE_ADDON) {
    return 'CENOTE_NODE_ADDON names it: name that of this version, or unset it';
  }
  return /[\\/]build[\\/]node[\\/]/.test(addon) ? 'build it again with tools/node-addon' : 'install the package again';
}

/**
 * The addon and the files here belong together: with another one, calls would fail later and nobody would know why.
 * @param {object} loaded @param {string} addon its path
 */
function refuseOther(loaded, addon) {
  const refuse = (what) => {
    throw Object.assign(new Error(`cenote: the addon ${addon} ${what}; ${remedy(addon)}`), {
      code: 'CENOTE_ADDON_VERSION',
    });
  };
  if (typeof loaded.version !== 'string' || typeof loaded.open !== 'function') {
    refuse("is none of cenote's");
  }
  if (loaded.version !== version) {
    refuse(`is of version ${loaded.version}, and the package beside it of ${version}`);
  }
  if (loaded.interface !== INTERFACE) {
    refuse(`is of version ${version} like the package, but older or newer: ` +
      `its interface is ${loaded.interface ?? 'not numbered'}, ${INTERFACE} is wanted`);
  }
}

/** As package.json has it; npm only warns of another. */
const OLDEST_NODE = 18;

/** @param {string} [version] of Node.js */
function refuseOld(version = process.versions.node) {
  if (Number.parseInt(version, 10) < OLDEST_NODE) {
    throw Object.assign(new Error(`cenote: Node.js ${version} is too old: it wants ${OLDEST_NODE} or later`),
      { code: 'CENOTE_NODE_VERSION' });
  }
}

module.exports = { explain, PACKAGES, refuseOld, refuseOther };
