// events.test.mjs - the parser of server-sent events, without a browser.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { EventParser } from './web/events.js';

function parse(pieces) {
  const events = [];
  const parser = new EventParser((name, data) => events.push([name, data]));
  for (const piece of pieces) parser.push(piece);
  return events;
}

const STREAM =
  ': hello\r\n\r\nevent: status\r\ndata: {"a":\r\ndata: 1}\r\n\r\n:beat\n\ndata:no blank\n\nevent: ' +
    'point\nid: 7\ndata: x: y\n\nevent: empty\n\n' +
  'data\r\rdata: unfinished\n';
const EVENTS = [['status', '{"a":\n1}'], ['message', 'no blank'], ['point', 'x: y'], ['message', '']];

test('events come out whole, whatever ends their lines', () => assert.deepEqual(parse([STREAM]), EVENTS));

test('where the stream is cut makes no difference', () => {
  for (let at = 0; at <= STREAM.length; at++) {
    assert.deepEqual(parse([STREAM.slice(0, at), STREAM.slice(at)]), EVENTS, `cut at ${at}`);
  }
  assert.deepEqual(parse([...STREAM]), EVENTS, 'cut everywhere');
});

test('an event without an end is refused', () => {
  const piece = 'x'.repeat(1024 * 1024);
  assert.throws(() => parse(['data: ', ...Array(33).fill(piece)]), /without an end/);
  assert.throws(() => parse(Array(40).fill(`data: ${piece}\n`)), /without an end/);
});
