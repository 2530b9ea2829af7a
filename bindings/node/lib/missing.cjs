/** missing.cjs - says what is missing where the addon cannot be loaded: a library, and whose; a newer Node.js. */
'use strict';

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
 * The error to throw for what dlopen said; what is not about a missing library stays as it is.
 * @param {Error} error
 * @returns {Error}
 */
function explain(error) {
  const [, file, stem] = /((lib\w+)\.so[.\d]*): cannot open shared object file/.exec(error.message) ?? [];
  if (file !== undefined) {
    const [name, later] = PACKAGES[stem] ?? [];
    const wanted = name === undefined ? '' : ` (Debian: apt-get install ${name}${later ? `, in newer ones ${later}` : ''})`;
    return Object.assign(new Error(`cenote: the system library ${file} is missing${wanted}`, { cause: error }),
      { code: 'CENOTE_LIBRARY_MISSING' });
  }
  if (/version `GLIBC_[\d.]+' not found|musl/.test(error.message)) {
    return Object.assign(new Error('cenote: the addon wants glibc 2.34 or later, as Debian 12 has it', { cause: error }),
      { code: 'CENOTE_LIBRARY_MISSING' });
  }
  return error;
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

module.exports = { explain, PACKAGES, refuseOld };
