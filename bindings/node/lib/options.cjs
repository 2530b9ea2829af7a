/**
 * options.cjs - what a caller gave as options: whether it is of the kind that is wanted, and how two of them compare.
 */
'use strict';

const { inspect } = require('node:util');

const { CenoteError } = require('./errors.cjs');

const wrong = (message) => new CenoteError(message, { status: 'CENOTE_CONFIG' });

const SHOWN = 60;

/** A value in a message: on one line, and short. */
function show(value) {
  const text = typeof value === 'string' ? JSON.stringify(value) : inspect(value, { depth: 0, breakLength: Infinity });
  return text.length > SHOWN ? `${text.slice(0, SHOWN)}…` : text;
}

const isObject = (value) => typeof value === 'object' && value !== null && !Array.isArray(value);

/** Kinds of options: whether a value is of it, and what is wanted. */
const KINDS = {
  text: [(value) => typeof value === 'string', 'a text is wanted'],
  yesOrNo: [(value) => typeof value === 'boolean', 'true or false is wanted'],
  call: [(value) => typeof value === 'function', 'a function is wanted'],
  members: [isObject, 'an object is wanted'],
  callOrText: [(value) => typeof value === 'function' || typeof value === 'string', 'a function or a text is wanted'],
  yesOrMembers: [(value) => typeof value === 'boolean' || isObject(value), 'true, false or an object is wanted'],
  setting: [
    (value) => ['number', 'string', 'boolean'].includes(typeof value),
    'a number, a text, true or false is wanted',
  ],
};

/**
 * @param {string} name @param {unknown} value undefined and null count as not given @param {keyof typeof KINDS} kind
 * @param {boolean} [secret] the value is not repeated
 */
function checkKind(name, value, kind, secret = false) {
  const [fits, wanted] = KINDS[kind];
  if (value === undefined || value === null || fits(value)) {
    return;
  }
  const hint = typeof value === 'bigint' ? `: write ${value}, without the n` : '';
  throw wrong(
    `${name}${secret ? '' : ` = ${show(value)}`} is of type ${Array.isArray(value) ? 'array' : typeof value}: ` +
      `${wanted}${hint}`
  );
}

/**
 * Options are an object, not a URL alone, which is a common slip; it may hold a password, so it is not repeated.
 * @param {unknown} options @param {string} example
 */
function checkObject(options, example) {
  if (!isObject(options) || typeof options.href === 'string') {
    throw wrong(`the options are no object: pass ${example}`);
  }
}

/** @param {unknown} signal undefined and null count as not given */
function checkSignal(signal) {
  if (signal !== undefined && signal !== null && typeof signal.throwIfAborted !== 'function') {
    throw wrong(`signal = ${show(signal)}: an AbortSignal is wanted`);
  }
}

/** A text that is the same for alike values, of whatever kind: a BigInt, a function, something that holds itself. */
function describeValue(value) {
  const above = [];
  return JSON.stringify(value, function one(key, member) {
    while (above.length > 0 && above[above.length - 1] !== this) {
      above.pop();
    }
    if (typeof member === 'object' && member !== null) {
      if (above.includes(member)) {
        return '[itself]';
      }
      above.push(member);
      return member;
    }
    return ['string', 'number', 'boolean', 'undefined'].includes(typeof member) || member === null
      ? member
      : String(member);
  });
}

module.exports = { checkKind, checkObject, checkSignal, describeValue, isObject, show, wrong };
