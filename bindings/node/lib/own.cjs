/**
 * own.cjs - clients that the caller brings, pooled by the same core: the pool says when one is opened, checked, cleaned
 * and closed, and who has it; statements go to the client itself.
 *
 * A client is anything with execute (libSQL's), or with query (node-postgres'). One that is still at work when its lease
 * ends is closed, never handed on: nobody can cancel it.
 */
'use strict';

const addon = require('./addon.cjs');
const { CenoteError } = require('./errors.cjs');
const { toStatements } = require('./values.cjs');

const [OPEN, CHECK, RESET, GONE] = [0, 1, 2, 3];
const [BUSY, IN_TRANSACTION, BROKEN] = [1, 2, 4];

/** Runs it the way the client takes it: `query(sql, args)`, `execute(sql, args)`, or `execute({sql, args})` alone. */
const runOn = (client, sql, args) => {
  const method = typeof client.execute === 'function' ? 'execute' : 'query';
  if (args === undefined) {
    return client[method](sql);
  }
  return method === 'execute' && client.execute.length === 1 ? client.execute({ sql, args }) : client[method](sql, args);
};

/** A client in the pool. */
class Own {
  constructor(clients, serial) {
    this.clients = clients;
    this.serial = serial;
    this.client = undefined;
    this.working = 0;
    this.broken = false;
    /** What stands between begin and its end: a function that ends it. */
    this.rollback = undefined;
  }

  mark() {
    const marks = (this.working > 0 ? BUSY : 0) | (this.rollback !== undefined ? IN_TRANSACTION : 0) |
      (this.broken ? BROKEN : 0);
    addon.ownMark(this.clients.handle, this.serial, marks);
  }

  /** It stands in a transaction, which that function ends; or in none any more. */
  began(rollback) {
    this.rollback = rollback;
    this.mark();
  }

  /** Runs something on the client; while it does, the client is nobody else's. */
  async work(call) {
    this.working++;
    this.mark();
    try {
      return await call(this.client);
    } finally {
      this.working--;
      this.mark();
    }
  }
}

class OwnClients {
  #create;
  #destroy;
  #validate;
  #live = new Map();
  #uses = new Map();
  #ends = new Set();
  #warned = false;
  #ears = new Map();

  constructor(options) {
    this.#create = options.createClient;
    this.#destroy = options.destroyClient ?? ((client) => (client.close ?? client.end)?.call(client));
    this.#validate = options.validateClient ?? ((client) => runOn(client, 'SELECT 1'));
    this.shared = false;
    this.lastError = undefined;
  }

  /** What the addon asks for. */
  asked(kind, serial) {
    switch (kind) {
      case OPEN:
        this.#answer(serial, () => this.#open(serial));
        break;
      case CHECK:
        this.#answer(serial, () => this.#validate(this.#live.get(serial).client));
        break;
      case RESET:
        this.#answer(serial, () => this.#live.get(serial).rollback?.());
        break;
      case GONE:
      default:
        this.#gone(serial);
    }
  }

  async #answer(serial, work) {
    let message;
    try {
      await work();
    } catch (error) {
      this.lastError = error;
      message = String(error?.message ?? error) || 'the client failed';
    }
    addon.ownDone(this.handle, serial, message);
    this.kick();
  }

  async #open(serial) {
    const own = new Own(this, serial);
    this.#live.set(serial, own);
    const client = await this.#create();
    if (client === null || typeof client !== 'object' ||
        (typeof client.execute !== 'function' && typeof client.query !== 'function')) {
      throw new CenoteError('createClient answered no client: it needs execute or query', { status: 'CENOTE_CONFIG' });
    }
    const uses = (this.#uses.get(client) ?? 0) + 1;
    this.#uses.set(client, uses);
    if (this.#live.get(serial) !== own) { // given up meanwhile
      this.#drop(client);
      return;
    }
    own.client = client;
    this.#listen(client);
    if (uses > 1) {
      this.shared = true;
      if (!this.#warned) {
        this.#warned = true;
        process.emitWarning('createClient answers the same client again: leases share it, so a transaction of one holds ' +
          'what others send, and none can be cut off alone', { code: 'CENOTE_SHARED_CLIENT' });
      }
    }
  }

  /** A client that says by an event that it is lost (node-postgres') is used no more; and nobody has to listen to it. */
  #listen(client) {
    if (typeof client.on !== 'function' || this.#ears.has(client)) {
      return;
    }
    const lost = () => {
      for (const own of this.#live.values()) {
        if (own.client === client) {
          own.broken = true;
          own.mark();
        }
      }
    };
    this.#ears.set(client, lost);
    client.on('error', lost);
    client.on('end', lost);
  }

  /** What still comes when it is closed is nobody's concern. */
  #unlisten(client) {
    const lost = this.#ears.get(client);
    if (lost !== undefined) {
      this.#ears.delete(client);
      client.on('error', () => {});
      client.off?.('error', lost);
      client.off?.('end', lost);
    }
  }

  #gone(serial) {
    const own = this.#live.get(serial);
    this.#live.delete(serial);
    if (own?.client !== undefined) {
      this.#drop(own.client);
    }
  }

  /** Closed when the last one that has it is gone. */
  #drop(client) {
    const uses = this.#uses.get(client) - 1;
    if (uses > 0) {
      this.#uses.set(client, uses);
      return;
    }
    this.#uses.delete(client);
    this.#unlisten(client);
    const end = Promise.resolve().then(() => this.#destroy(client)).catch(() => {});
    this.#ends.add(end);
    end.then(() => this.#ends.delete(end));
  }

  /** Resolves when all that are being closed are, within a second: who hangs is left behind. */
  async closed() {
    let timer;
    await Promise.race([Promise.all(this.#ends), new Promise((resolve) => { timer = setTimeout(resolve, 1000); })]);
    clearTimeout(timer);
  }

  /** Nothing but the client may be keeping the loop alive, and time-outs must come. */
  hold(on) {
    addon.ownHold(this.handle, on);
  }

  /** Whether it was lost while nobody had it. */
  isLost(handle) {
    return this.of(handle)?.broken === true;
  }

  of(handle) {
    return this.#live.get(addon.ownOf(handle.manager, handle.place, handle.generation));
  }
}

/** Ms that setTimeout takes: with more, Infinity too, it would end at once. A lease ends before. */
const LONGEST = 2 ** 31 - 1;

/** A transaction of the client's own, or of BEGIN and COMMIT where it has none. */
class OwnTransaction {
  #lease;
  #own;
  #inner;
  #timer;
  #timeout;
  #expired = false;

  constructor(lease, own, inner, timeout) {
    this.#lease = lease;
    this.#own = own;
    this.#inner = inner;
    this.closed = false;
    own.began(() => this.#giveUp((end) => own.work(end))); // when nobody's lease is left to wait for its turn
    if (timeout > 0 && timeout <= LONGEST) {
      this.#timeout = timeout;
      this.#timer = setTimeout(() => {
        this.#expired = true;
        this.#giveUp((end) => own.work(end)); // what runs may hang
      }, timeout);
      this.#timer.unref();
    }
  }

  #checkTime() {
    if (this.#expired) {
      throw new CenoteError(`Transaction timeout after ${this.#timeout} ms: it was rolled back`,
        { status: 'CENOTE_STATEMENT_TIMEOUT' });
    }
  }

  #check() {
    this.#checkTime();
    if (this.closed) {
      throw new CenoteError('The transaction is closed', { code: 'TRANSACTION_CLOSED' });
    }
    if (this.#lease.isReleased) { // what is not committed by now is rolled back
      throw new CenoteError('Cannot go on with the transaction on released lease', { status: 'CENOTE_STALE' });
    }
  }

  #say(how, client) {
    return this.#inner === undefined ? runOn(client, how.toUpperCase()) : this.#inner[how]();
  }

  #done() {
    this.#own.began(undefined);
  }

  /** In the client's turn: what is not committed now is rolled back, or the client is used no more. */
  async #commitOn(client) {
    try {
      await this.#say('commit', client);
    } catch (error) {
      await Promise.resolve(this.#say('rollback', client)).catch(() => { this.#own.broken = true; });
      throw error;
    } finally {
      this.#done();
    }
  }

  /** @param {(end: (client: object) => Promise<void>) => Promise<void>} when runs it on the client: now, or in turn */
  async #giveUp(when) {
    if (this.closed) {
      return;
    }
    this.closed = true;
    clearTimeout(this.#timer);
    try {
      await when((client) => this.#say('rollback', client));
    } catch {
      this.#own.broken = true; // nobody knows what it stands in
      this.#lease.touch();
    } finally {
      this.#done();
    }
  }

  async execute(statement, args) {
    this.#check();
    return this.#lease.send(statement, args, this.#inner, () => this.#checkTime());
  }

  async batch(statements) {
    const results = [];
    for (const [sql, args] of toStatements(statements)) {
      results.push(await this.execute(sql, args));
    }
    return results;
  }

  async commit() {
    this.#check();
    this.closed = true;
    clearTimeout(this.#timer);
    await this.#lease.onClient((client) => this.#commitOn(client)).finally(() => this.#lease.touch());
  }

  /** Resolves in any case. What was asked for before it is done first. */
  rollback() {
    return this.#giveUp((end) => (this.#lease.isReleased ? this.#own.work(end) : this.#lease.onClient(end)));
  }

  close() {
    this.rollback();
  }
}

module.exports = { OwnClients, OwnTransaction, runOn };
