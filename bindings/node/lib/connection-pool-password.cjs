/**
 * connection-pool-password.cjs - `password` as a function, as node-postgres has it. The core cannot call it where it
 * opens a connection, so it is asked ahead: before the first connection, after each that was opened, after a refused
 * login, and from time to time, since such passwords are often tokens that expire.
 */
'use strict';

const { typeError } = require('./errors.cjs');
const { keepArguments } = require('./pg-types.cjs');

/** Tokens live for ten minutes and more. */
const REFRESH_MS = 240000;
/** Whoever is asked after each connection need not be asked for those of one moment. */
const PAUSE_MS = 1000;

const checked = (text) => {
  if (typeof text !== 'string') {
    throw typeError('Password must be a string: its function answered something else');
  }
  return text;
};

class Password {
  #ask;
  #core;
  #asking;
  #asked = 0;
  #timer;

  /** @param {() => string | Promise<string>} ask */
  constructor(ask) {
    this.#ask = ask;
    const answer = ask();
    /** The first one, where it was there at once. */
    this.first = typeof answer?.then === 'function' ? undefined : checked(answer);
    if (this.first === undefined) {
      this.#asking = Promise.resolve(answer);
      this.#asking.catch(() => {}); // told to who waits for it
    }
  }

  /** Resolves when the core has one. */
  async attach(core) {
    const asking = this.#asking;
    this.#asking = undefined;
    if (this.first === undefined) {
      this.first = checked(await (asking ?? Promise.resolve().then(this.#ask)));
      core.setPassword(this.first);
    }
    this.first = '';
    this.#core = core;
    this.#asked = performance.now();
    this.#timer = setInterval(() => this.#refresh(), REFRESH_MS);
    this.#timer.unref();
  }

  /** What the core's audit tells. */
  audit({ kind }) {
    if ((kind === 'opened' || kind === 'loginFailed') && performance.now() - this.#asked > PAUSE_MS) {
      this.#refresh();
    }
  }

  async #refresh() {
    const core = this.#core;
    if (core === undefined || core.closed || this.#asking !== undefined) {
      return;
    }
    this.#asked = performance.now();
    this.#asking = Promise.resolve().then(this.#ask);
    try {
      const text = checked(await this.#asking);
      if (!core.closed) {
        core.setPassword(text);
      }
    } catch (error) {
      process.emitWarning(`the function for the password failed, the last one stays: ${error.message}`, {
        code: 'CENOTE_PASSWORD',
      });
    } finally {
      this.#asking = undefined;
    }
  }

  end() {
    clearInterval(this.#timer);
  }
}

/**
 * Holds back what would need a connection until the first password is there. Where the function fails, who waits is
 * told, and it is asked again for the next one.
 * @param {object} core @param {Password} password @param {() => void} onReady
 */
function holdBack(core, password, onReady) {
  const held = {};
  let ready;
  const attached = () => {
    ready ??= password.attach(core).then(
      () => {
        for (const [name, own] of Object.entries(held)) {
          if (core[name] === own) {
            delete core[name];
          }
        }
        onReady();
      },
      (error) => {
        ready = undefined;
        throw error;
      }
    );
    return ready;
  };
  for (const name of ['query', 'acquire', 'transact']) {
    held[name] = (...all) => {
      if (name === 'query') {
        all[1] = keepArguments(all[1]); // it is read later
      }
      return attached().then(() => Object.getPrototypeOf(core)[name].apply(core, all));
    };
  }
  held.take = () => undefined;
  Object.assign(core, held);
  attached().catch(() => {});
}

module.exports = { Password, holdBack };
