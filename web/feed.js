// feed.js - where the data comes from: history and status once, then the live stream; again, with growing pauses, when
// it breaks. Tells the page what came and how the connection is.
//
//   connecting ──► live ──► reconnecting ──► gone        (gone: nothing for GONE_MS)
//                   ▲            │            │
//                   └────────────┴────────────┘
//   any ──► login (401): waits for a token

import { readEvents } from './events.js';

const STATUS = '/api/admin/connection-pool-status';
const HISTORY = '/api/admin/history';
const LIVE = '/api/admin/live';
const SILENCE_MS = 8000; // a status comes each second, a heartbeat each fifth: longer than this is no life
const GONE_MS = 4000;
const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 5000;
const TOKEN = 'cenote-token';

class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

const pause = (ms, signal) => new Promise((resolve) => {
  const timer = setTimeout(resolve, ms);
  signal.addEventListener('abort', () => { clearTimeout(timer); resolve(); }, { once: true });
});

export class Feed {
  #on; // { status(body), history(body), point(point), link(name, since, note), login(why) }
  #link = '';
  #lost = 0; // when the last data came, while there is none
  #wake = new AbortController();
  #gone = 0;
  #control = null; // ends the session that runs
  #turn = 0; // a new token begins a new turn; what still runs of the old one ends

  constructor(on) {
    this.#on = on;
  }

  get hasToken() {
    return this.#token() !== null;
  }

  start() {
    window.addEventListener('online', () => this.#wake.abort());
    document.addEventListener('visibilitychange', () => { if (!document.hidden) this.#wake.abort(); });
    this.#run();
  }

  useToken(token) {
    sessionStorage.setItem(TOKEN, token);
    this.#wake.abort();
    this.#control?.abort();
    this.#run();
  }

  forgetToken() {
    sessionStorage.removeItem(TOKEN);
    location.reload();
  }

  #token() {
    return sessionStorage.getItem(TOKEN);
  }

  async #run() {
    const turn = ++this.#turn;
    let wait = FIRST_PAUSE_MS;
    this.#say('connecting', Date.now());
    while (turn === this.#turn) {
      let note = '';
      try {
        await this.#session(() => { wait = FIRST_PAUSE_MS; });
      } catch (error) {
        if (turn !== this.#turn) return;
        if (error instanceof Refused && error.status === 401) {
          this.#askForToken();
          return;
        }
        if (error instanceof Refused) note = error.message;
      }
      this.#broken(note);
      this.#wake = new AbortController();
      await pause(wait * (0.75 + Math.random() / 2), this.#wake.signal);
      wait = Math.min(wait * 2, LONGEST_PAUSE_MS);
    }
  }

  /** Until the stream ends or breaks. */
  async #session(arrived) {
    const control = new AbortController();
    this.#control = control;
    let dog;
    const alive = () => {
      clearTimeout(dog);
      dog = setTimeout(() => control.abort(), SILENCE_MS);
    };
    alive();
    try {
      const status = await this.#json(STATUS, control.signal);
      this.#on.history(await this.#json(HISTORY, control.signal));
      this.#on.status(status);
      const stream = await this.#fetch(LIVE, control.signal);
      alive();
      arrived();
      this.#alive();
      await readEvents(stream.body, (name, data) => this.#event(name, data), alive);
    } finally {
      clearTimeout(dog);
      control.abort();
    }
  }

  #event(name, data) {
    if (name !== 'status' && name !== 'point') return;
    const body = JSON.parse(data);
    if (name === 'status') this.#on.status(body);
    else this.#on.point(body);
    this.#alive();
  }

  #alive() {
    clearTimeout(this.#gone);
    this.#gone = 0;
    this.#lost = 0;
    this.#say('live', Date.now());
  }

  #broken(note) {
    this.#lost = this.#lost || Date.now();
    const gone = Date.now() - this.#lost >= GONE_MS;
    this.#say(gone ? 'gone' : 'reconnecting', this.#lost, note);
    if (!gone && !this.#gone) {
      this.#gone = setTimeout(() => this.#say('gone', this.#lost, note), GONE_MS);
    }
  }

  #askForToken() {
    clearTimeout(this.#gone);
    const had = this.#token() !== null;
    sessionStorage.removeItem(TOKEN);
    this.#say('login', Date.now());
    this.#on.login(had ? 'That token was refused.' : 'This gateway asks for its admin token.');
  }

  #say(link, since, note = '') {
    if (link === this.#link && !note) return;
    this.#link = link;
    this.#on.link(link, since, note);
  }

  async #json(path, signal) {
    return (await this.#fetch(path, signal)).json();
  }

  async #fetch(path, signal) {
    const token = this.#token();
    const answer = await fetch(path, {
      headers: token === null ? {} : { Authorization: `Bearer ${token}` },
      cache: 'no-store',
      credentials: 'omit',
      redirect: 'error',
      signal,
    });
    if (answer.ok) return answer;
    const said = await answer.json().catch(() => ({}));
    throw new Refused(answer.status, `${answer.status} ${said.message ?? ''}`.trim());
  }
}
