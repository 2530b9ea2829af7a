/**
 * own.cjs - clients that the caller brings, pooled by the same core: the pool says when one is opened, checked, cleaned
 * and closed, and who has it; statements go to the client itself.
 *
 * A client is anything with execute (libSQL's), or with query (node-postgres'). One whose lease expires is closed,
 * never handed on: nobody can cancel it, and its holder has it still.
 */
'use strict';

const addon = require('./addon.cjs');
const { CenoteError, releasedError } = require('./errors.cjs');
const { toStatements } = require('./values.cjs');

const [OPEN, CHECK, RESET, GONE] = [0, 1, 2, 3];
const [BUSY, IN_TRANSACTION, BROKEN, LEASED] = [1, 2, 4, 8];

/** Runs it the way the client takes it: `query(sql, args)`, `execute(sql, args)`, or `execute({sql, args})` alone. */
const runOn = (client, sql, args) => {
  const method = typeof client.execute === 'function' ? 'execute' : 'query';
  if (args === undefined) {
    return client[method](sql);
  }
  return method === 'execute' && client.execute.length === 1
    ? client.execute({ sql, args })
    : client[method](sql, args);
};

const closedError = () => new CenoteError('The transaction is closed', { code: 'TRANSACTION_CLOSED' });

/** A client in the pool. */
class Own {
  constructor(clients, serial) {
    this.clients = clients;
    this.serial = serial;
    this.client = undefined;
    this.working = 0;
    this.broken = false;
    /** The pool has it no more. */
    this.gone = false;
    /** The lease that has it, until that gives it back. */
    this.holder = undefined;
    /** What stands between begin and its end: a function that ends it. */
    this.rollback = undefined;
    /** … where it is one of the client's own transaction(): what that answered. */
    this.inner = undefined;
    /** The transactions that are open, each a savepoint in the one before it. */
    this.places = [];
  }

  mark() {
    const marks = (this.working > 0 ? BUSY : 0) | (this.rollback !== undefined ? IN_TRANSACTION : 0) |
      (this.broken ? BROKEN : 0) | (this.holder !== undefined ? LEASED : 0);
    addon.ownMark(this.clients.handle, this.serial, marks);
  }

  /** A lease has it; or has given it back. */
  heldBy(lease) {
    this.holder = lease;
    this.mark();
  }

  /** It stands in a transaction, which that function ends; or in none any more. */
  began(rollback) {
    this.rollback = rollback;
    if (rollback === undefined) {
      this.inner = undefined;
      this.#drop(0);
    }
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

  // ------------------------------------------------------------------ in the client's turn

  /** A transaction; inside one a savepoint of it. @returns {Promise<{depth: number, over: boolean, gone: boolean}>} */
  async begin(client, mode) {
    const depth = this.rollback === undefined ? 0 : (this.places[this.places.length - 1]?.depth ?? 0) + 1;
    if (depth > 0) {
      await runOn(this.inner ?? client, `SAVEPOINT cenote_${depth}`);
    } else if (typeof client.transaction === 'function') {
      this.inner = await client.transaction(mode);
    } else {
      await runOn(client, 'BEGIN');
    }
    const place = { depth, over: false, gone: false };
    this.places.push(place);
    return place;
  }

  /** @param {'commit'|'rollback'} how */
  async end(client, place, how) {
    if (place.gone) {
      return;
    }
    const to = this.inner ?? client;
    if (place.depth > 0) {
      if (how === 'rollback') {
        await runOn(to, `ROLLBACK TO SAVEPOINT cenote_${place.depth}`);
      }
      await runOn(to, `RELEASE SAVEPOINT cenote_${place.depth}`);
    } else if (this.inner !== undefined) {
      await this.inner[how]();
    } else {
      const result = await runOn(client, how.toUpperCase());
      if (how === 'commit' && /^rollback/i.test(result?.command)) { // as PostgreSQL answers
        throw new CenoteError('The transaction was rolled back: one of its statements had failed',
          { status: 'CENOTE_DATABASE', sqlstate: '25P02' });
      }
    }
  }

  // ------------------------------------------------------------------ at any time

  /** Its end is asked for: nothing more may be asked of it, nor of what is inside. */
  close(place) {
    for (const each of this.places) {
      each.over = each.over || each.depth >= place.depth;
    }
    place.over = true;
  }

  /** It has ended, and what was inside with it. */
  ended(place) {
    if (place.gone) {
      return;
    }
    this.#drop(place.depth);
    if (place.depth === 0) {
      this.began(undefined);
    }
  }

  #drop(depth) {
    while (this.places.length > 0 && this.places[this.places.length - 1].depth >= depth) {
      const place = this.places.pop();
      place.over = true;
      place.gone = true;
    }
  }
}

/** Ms that the only client so far is kept after its connection: until the next answer tells whether it is shared. */
const LATE_MS = 1000;

class OwnClients {
  #create;
  #destroy;
  #validate;
  #live = new Map();
  /** How many connections have it; of a shared one perhaps none. */
  #uses = new Map();
  #shared = new Set();
  #closed = new WeakSet();
  #ends = new Set();
  #ears = new Map();
  /** How many different clients there were. */
  #made = 0;
  /** The first one, while it waits for the second; and what ends that. */
  #late;
  #lateTimer;
  #ending = false;
  /**
   * The last check has failed: a new client is checked before it is handed out, or they would come and go without end.
   */
  #doubts = false;

  constructor(options) {
    this.#create = options.createClient;
    this.#destroy = options.destroyClient ?? ((client) => (client.close ?? client.end)?.call(client));
    this.#validate = options.validateClient ?? ((client) => runOn(client, 'SELECT 1'));
    this.lastError = undefined;
  }

  /** Whether the factory has answered a client twice. */
  get shared() {
    return this.#shared.size > 0;
  }

  /** What the addon asks for. */
  asked(kind, serial) {
    switch (kind) {
      case OPEN:
        this.#answer(serial, () => this.#open(serial));
        break;
      case CHECK:
        this.#answer(serial, () => this.check(this.#live.get(serial).client));
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

  /** Throws where the client is of no use. What validateClient answers counts when it is false. */
  async check(client) {
    let good = false;
    try {
      good = await this.#validate(client) !== false;
    } finally {
      this.#doubts = !good;
    }
    if (!good) {
      throw new CenoteError('validateClient answered false', { status: 'CENOTE_CONNECTION_LOST' });
    }
  }

  async #open(serial) {
    const own = new Own(this, serial);
    this.#live.set(serial, own);
    const client = await this.#create();
    if (client === null || typeof client !== 'object' ||
        (typeof client.execute !== 'function' && typeof client.query !== 'function')) {
      throw new CenoteError('createClient answered no client: it needs execute or query', { status: 'CENOTE_CONFIG' });
    }
    this.#count(client);
    if (this.#live.get(serial) !== own) { // given up meanwhile
      this.#drop(client);
      return;
    }
    own.client = client;
    this.#listen(client);
    if (typeof client.connect === 'function' && client._connected === false && client._connecting === false) {
      await client.connect(); // node-postgres': statements would wait for that for ever
    }
    if (this.#closed.has(client)) {
      await this.#checkAgain(client);
    } else if (this.#doubts) {
      await this.check(client);
    }
  }

  async #checkAgain(client) {
    try {
      await this.check(client);
    } catch (error) {
      throw new CenoteError(
        'createClient answered a client that was closed already: it hands out one for all, so pass ' +
          `destroyClient, too, which leaves it open (${error?.message ?? error})`,
        { status: 'CENOTE_CONFIG' }
      );
    }
  }

  #count(client) {
    const late = this.#late;
    this.#late = undefined;
    clearTimeout(this.#lateTimer);
    const again = this.#uses.has(client) || late === client;
    this.#uses.set(client, (this.#uses.get(client) ?? 0) + 1);
    if (!again) {
      this.#made++;
    } else if (!this.#shared.has(client)) {
      this.#shared.add(client);
      this.#warn();
    }
    if (late !== undefined && late !== client) {
      this.#close(late);
    }
  }

  #warn() {
    if (this.#shared.size === 1) {
      process.emitWarning(
        'createClient answers the same client again: leases share it, so a transaction of one holds ' +
          'what others send, and none can be cut off alone',
        { code: 'CENOTE_SHARED_CLIENT' }
      );
    }
  }

  /**
   * A client that says by an event that it is lost (node-postgres') is used no more; and nobody has to listen to it.
   */
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
    if (own?.client === undefined) {
      return;
    }
    own.gone = true;
    this.#drop(own.client);
    if (this.#uses.has(own.client) || this.#late === own.client) { // it stays open: what was begun on it must not
      Promise.resolve(own.rollback?.()).catch(() => {});
    }
  }

  /** Closed when the last connection that has it is gone; a shared one at the end. */
  #drop(client) {
    const uses = this.#uses.get(client) - 1;
    this.#uses.set(client, uses);
    if (uses > 0 || (this.#shared.has(client) && !this.#ending)) {
      return;
    }
    this.#uses.delete(client);
    if (this.#made > 1 || this.#ending || !this.opensAnother()) {
      this.#close(client);
      return;
    }
    this.#late = client; // perhaps there is but this one, and the factory answers it again at once
    this.#lateTimer = setTimeout(() => this.#closeLate(), LATE_MS);
    this.#lateTimer.unref();
  }

  #closeLate() {
    const client = this.#late;
    this.#late = undefined;
    clearTimeout(this.#lateTimer);
    if (client !== undefined) {
      this.#close(client);
    }
  }

  #close(client) {
    this.#closed.add(client);
    this.#unlisten(client);
    const end = Promise.resolve().then(() => this.#destroy(client)).catch(() => {});
    this.#ends.add(end);
    end.then(() => this.#ends.delete(end));
  }

  /** The end: closes what is left, and resolves when all are closed, within a second: who hangs is left behind. */
  async closed() {
    this.#ending = true;
    this.#closeLate();
    for (const [client, uses] of this.#uses) {
      if (uses === 0) {
        this.#uses.delete(client);
        this.#close(client);
      }
    }
    let timer;
    await Promise.race([Promise.all(this.#ends), new Promise((resolve) => { timer = setTimeout(resolve, 1000); })]);
    clearTimeout(timer);
  }

  /** Nothing but the client may be keeping the loop alive, and time-outs must come. */
  hold(on) {
    addon.ownHold(this.handle, on);
  }

  /** A statement of a lease has ended: for the statistics. */
  note({ manager, place, generation }, sql, failed, ms) {
    addon.ownNote(this.handle, manager, place, generation, sql, failed, ms * 1000);
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

/** A transaction of the client's own, or of BEGIN and COMMIT where it has none; inside of one a savepoint. */
class OwnTransaction {
  #lease;
  #own;
  #place;
  #timer;
  #timeout;
  #expired = false;

  /** @param {object} place what Own's begin has answered, in the same turn, or the lease could go */
  constructor(lease, own, place, timeout) {
    this.#lease = lease;
    this.#own = own;
    this.#place = place;
    const giveUp = () => this.#giveUp((end) => own.work(end)); // when nobody's lease is left to wait for its turn
    if (place.depth === 0) {
      own.began(giveUp);
      if (own.gone) {
        giveUp();
      }
    }
    if (timeout > 0 && timeout <= LONGEST) {
      this.#timeout = timeout;
      this.#timer = setTimeout(() => {
        if (!this.closed) {
          this.#expired = true;
          if (place.depth > 0) {
            this.rollback();
          } else {
            giveUp(); // what runs may hang
          }
        }
      }, timeout);
      this.#timer.unref();
    }
  }

  get closed() {
    return this.#place.over;
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
      throw closedError();
    }
    if (this.#lease.isReleased) { // what is not committed by now is rolled back
      throw releasedError('go on with the transaction', this.#lease.end);
    }
  }

  /** When it is its statement's turn: its end may have been asked for after that. */
  #checkTurn() {
    this.#checkTime();
    if (this.#place.gone) {
      throw closedError();
    }
  }

  /** In the client's turn: what is not committed now is rolled back, or the client is used no more. */
  async commitOn(client) {
    this.#checkTurn();
    try {
      await this.#own.end(client, this.#place, 'commit');
    } catch (error) {
      await this.#own.end(client, this.#place, 'rollback').catch(() => { this.#own.broken = true; });
      throw error;
    } finally {
      this.#own.ended(this.#place);
    }
  }

  /** @param {(end: (client: object) => Promise<void>) => Promise<void>} when runs it on the client: now, or in turn */
  async #giveUp(when) {
    if (this.closed) {
      return;
    }
    this.#own.close(this.#place);
    clearTimeout(this.#timer);
    try {
      await when((client) => this.#own.end(client, this.#place, 'rollback'));
    } catch {
      this.#own.broken = true; // nobody knows what it stands in
      this.#lease.touch();
    } finally {
      this.#own.ended(this.#place);
    }
  }

  async execute(statement, args) {
    this.#check();
    return this.#lease.send(statement, args, () => this.#checkTurn());
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
    this.#own.close(this.#place);
    clearTimeout(this.#timer);
    await this.#lease.onClient((client) => this.commitOn(client)).finally(() => this.#lease.touch());
  }

  /** Resolves in any case. What was asked for before it is done first. */
  rollback() {
    return this.#giveUp((end) => {
      if (!this.#lease.isReleased) {
        return this.#lease.onClient(end);
      }
      return this.#place.depth > 0 ? undefined : this.#own.work(end); // a savepoint goes with what is around it
    });
  }

  /** The same in the client's turn. */
  rollbackOn(client) {
    return this.#giveUp((end) => end(client));
  }

  close() {
    this.rollback();
  }
}

module.exports = { OwnClients, OwnTransaction, runOn };
