/** errors.cjs - what Cenote throws. */
'use strict';

/** SQLite's name for a kind of errors, without what narrows it down. */
const SQLITE_KIND = /^SQLITE_[A-Z]+/;

/**
 * `code` is what other libraries use for a database's error: SQLite's name (SQLITE_CONSTRAINT; as in libSQL's client,
 * `extendedCode` narrows it down: SQLITE_CONSTRAINT_UNIQUE), PostgreSQL's SQLSTATE (23505); for everything else
 * `status`, Cenote's own word (CENOTE_TIMEOUT). `details` may be several lines.
 */
class CenoteError extends Error {
  /** @param {string} message @param {object} [about] */
  constructor(message, about = {}) {
    super(message);
    this.name = 'CenoteError';
    this.status = about.status ?? 'CENOTE_INVALID';
    const fields = about.fields ?? {};
    this.code =
      this.status === 'CENOTE_DATABASE' ? (fields.X ?? about.sqlstate ?? this.status) : (about.code ?? this.status);
    const kind = SQLITE_KIND.exec(this.code);
    if (kind !== null) {
      this.extendedCode = this.code;
      [this.code] = kind;
    }
    this.retryable = about.retryable ?? false;
    if (about.details !== undefined) {
      this.details = about.details;
    }
    if (about.statement !== undefined) {
      this.statementIndex = about.statement;
    }
    if (about.sqlstate !== undefined) {
      this.sqlstate = about.sqlstate;
    }
    Object.defineProperty(this, 'fields', { value: fields, enumerable: false });
  }
}

/** What ended a lease, when that was not its holder. */
const ENDS = { CENOTE_LEASE_EXPIRED: 'expired', CENOTE_SHUTTING_DOWN: 'was taken back by a shutdown' };

/** @param {string} what nobody can do on a lease that is over @param {string} [end] the status of what ended it */
const releasedError = (what, end) => new CenoteError(
  `Cannot ${what} on released lease${ENDS[end] === undefined ? '' : `: it ${ENDS[end]}`}`,
  { status: ENDS[end] === undefined ? 'CENOTE_STALE' : end });

/** A mistake of the caller's, in what he passed: JavaScript's own classes of errors, with a code. */
const refusal = (Kind) => (message) => Object.assign(new Kind(message), { code: 'CENOTE_INVALID' });
const typeError = refusal(TypeError);
const rangeError = refusal(RangeError);

/** The C library's names of settings and functions, in its own sentences, as callers here write them. */
const SETTING =
  /\b(?:(?:max|min)_(?:connections|waiters|result_bytes|result_rows)|simple_connections|[a-z]+(?:_[a-z]+)*_ms)\b/g;
const camel = (name) => name.replace(/_ms$/, '').replace(/_(.)/g, (_, letter) => letter.toUpperCase());
const CALLS = [
  [/\bcenote_transact(?:_with|_async)?\b/g, 'executeTransaction'],
  [/\bcenote_lease_extend\b/g, 'extend'],
  [/\bcenote_batch(?:_async)?\b/g, 'batch (sql.transaction)'],
];
const HINT = /\bCENOTE_HINT_([A-Z]+)\b/g;

function inJavaScript(message, fromServer) {
  let text = fromServer ? message : message.replace(SETTING, camel);
  if (text.includes('cenote_')) {
    for (const [theirs, ours] of CALLS) {
      text = text.replace(theirs, ours);
    }
  }
  return text;
}

/** What the library recommends, for who reads it here. An operation that is quoted keeps its name. */
function adviceInJavaScript(advice) {
  const translated = (text) =>
    inJavaScript(text, text.includes('"')).replace(HINT, (_, hint) => `'${hint.toLowerCase()}'`);
  return { ...advice, message: translated(advice.message), suggestion: translated(advice.suggestion) };
}

/** What libSQL's client writes before SQLite's words: people look for it there. A lock that is held is one, too. */
const sqliteName = ({ status, fields }) => {
  const name = fields?.X;
  return status === 'CENOTE_DATABASE' || name === 'SQLITE_BUSY' ? SQLITE_KIND.exec(name)?.[0] ?? name : undefined;
};

/** SQLite's number of an error, as the driver over files tells it beside the name. */
const RAW_CODE = /^SQLITE_\w+ \((\d+)\)/m;

/** @param {object} info what the addon says of a failure */
function fromAddon(info) {
  const name = sqliteName(info);
  const message = inJavaScript(info.message, info.status === 'CENOTE_DATABASE' || Boolean(info.sqlstate));
  const details = info.details?.trimEnd();
  const error = new CenoteError(name === undefined ? message : `${name}: ${message}`,
    details === undefined ? info : { ...info, details });
  const number = name === undefined ? null : RAW_CODE.exec(details ?? '');
  if (number !== null) {
    error.rawCode = Number(number[1]);
  }
  return error;
}

/** What the addon says of a manager that could not be opened with these settings. */
function refusedOpen(info, settings) {
  const message = info.message.replace(/^(\w+)(?= )/, (name) => (camel(name) in settings ? camel(name) : name))
    .replace(/(did you mean )(\w+)\?$/, (_, asks, name) => `${asks}${camel(name)}?`)
    .replace(/`cenote config` lists all of them$/, 'types/settings.d.ts of the package lists all of them');
  return fromAddon({ ...info, message });
}

module.exports = { CenoteError, adviceInJavaScript, fromAddon, rangeError, refusedOpen, releasedError, typeError };
