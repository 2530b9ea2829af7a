// events.js - reads server-sent events out of a fetched body. EventSource cannot send a token, so the page parses the
// stream by hand, as https://html.spec.whatwg.org/multipage/server-sent-events.html has it.

const MOST = 32 * 1024 * 1024; // characters of one event; more is no answer of ours

/** Feeds text in, calls onEvent(name, data) for each whole event. Comments are heartbeats and are left out. */
export class EventParser {
  #onEvent;
  #rest = '';
  #name = '';
  #data = [];
  #size = 0;

  constructor(onEvent) {
    this.#onEvent = onEvent;
  }

  push(chunk) {
    let text = this.#rest + chunk;
    // A CR at the very end may be half of a CR LF.
    const held = text.endsWith('\r') ? '\r' : '';
    if (held) text = text.slice(0, -1);
    const lines = text.split(/\r\n|\n|\r/);
    this.#rest = lines.pop() + held;
    for (const line of lines) this.#line(line);
    if (this.#rest.length + this.#size > MOST) throw new Error('an event without an end');
  }

  #line(line) {
    if (line === '') {
      if (this.#data.length > 0) this.#onEvent(this.#name || 'message', this.#data.join('\n'));
      this.#name = '';
      this.#data = [];
      this.#size = 0;
      return;
    }
    const colon = line.indexOf(':');
    if (colon === 0) return;
    const field = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? '' : line.slice(line[colon + 1] === ' ' ? colon + 2 : colon + 1);
    if (field === 'event') this.#name = value;
    if (field === 'data') {
      this.#data.push(value);
      this.#size += value.length;
    }
  }
}

/** Reads the body to its end. `onBytes` is told of every piece, heartbeats too. */
export async function readEvents(body, onEvent, onBytes) {
  const parser = new EventParser(onEvent);
  const decoder = new TextDecoder();
  const reader = body.getReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    onBytes();
    parser.push(decoder.decode(value, { stream: true }));
  }
}
