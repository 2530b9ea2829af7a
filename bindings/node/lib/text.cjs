/** text.cjs - what a statement begins with, where JavaScript has to know. In each text there is one way to read it. */
'use strict';

const COMMENT = String.raw`/\*[^*]*\*+(?:[^/*][^*]*\*+)*/`;
const BLANK = String.raw`(?:\s|--[^\n]*\n|${COMMENT}|;)*`;

/** @param {string} words alternatives of a regular expression @returns {RegExp} */
const beginsWith = (words) => new RegExp(`^${BLANK}(?:${words})\\b`, 'i');

const BEGINS = beginsWith('begin|start\\s+transaction');

/** @returns {boolean} whether it is BEGIN or START TRANSACTION, however it is commented */
const isBegin = (sql) => BEGINS.test(sql);

const ENDS = beginsWith('commit|end|rollback(?!\\s+(?:transaction\\s+|work\\s+)?to\\b)|abort');

/** @returns {boolean} whether it ends a transaction; ROLLBACK TO does not */
const isEnd = (sql) => ENDS.test(sql);

module.exports = { beginsWith, isBegin, isEnd };
