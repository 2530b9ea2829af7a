/**
 * index.cjs - `cenote` without an entry: what both documented modules export. No name is in both but CenoteError, which
 * is the same; `shutdown`, `getStats` and `healthCheck` are connection-pool's. Loading them opens nothing.
 */
'use strict';

module.exports = { ...require('./connection-manager.cjs'), ...require('./connection-pool.cjs') };
