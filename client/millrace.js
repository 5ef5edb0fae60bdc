// The JavaScript client of millrace's topics. docs/client.md tells how to use it, docs/gateway.md what goes over the wire.
//
// One file for browsers, bundlers, Node, Deno and Bun, as a plain script and as an ES module alike: it exports nothing, and
// sets the global name Millrace. A script element and `import "./millrace.js"` both do that; in CommonJS,
// require gives it too. An `export` in it would be a syntax error in a plain script.
//
// @ts-check
"use strict";

/**
 * @typedef {Error & {word: string, code: number}} MillraceError
 * @typedef {string | Promise<string>} TokenValue
 * @typedef {"connecting" | "open" | "waiting" | "closed"} State
 *   connecting: a connection is tried. open: messages flow. waiting: for the next try. closed: for good, until connect().
 *
 * @typedef {object} StateChange
 * @property {State} state
 * @property {"websocket" | "events" | ""} transport what it is open with
 * @property {MillraceError | null} error why it is waiting, or closed; null: by close()
 * @property {number} retryIn milliseconds until the next try, while it is waiting
 *
 * @typedef {object} Options
 * @property {string | ((refused: boolean) => TokenValue)} [token] a key or JWT, or a function that gives one. It is called for each
 *   connection, before a token ends, and with true when the last one was refused
 * @property {(change: StateChange) => void} [onState]
 * @property {(gap: Gap) => void} [onGap] for all subscriptions
 * @property {Array<"websocket" | "events">} [transports] what to try, in this order. Default: both
 * @property {RequestCredentials} [credentials] of plain requests and event streams, as of fetch. Default: "same-origin"
 * @property {{least?: number, most?: number}} [backOff] milliseconds between tries. Default: 250 to 30,000
 * @property {number} [silence] milliseconds without a word of the server before it is asked for one. Default: 30,000
 * @property {number} [patience] milliseconds to wait for an answer, or for a connection to open. Default: 10,000
 * @property {number} [maxWaiting] how many messages may wait to be published. Default: 1,000
 * @property {typeof WebSocket} [WebSocket] instead of the global one
 * @property {typeof fetch} [fetch] instead of the global one
 *
 * @typedef {object} Message
 * @property {string} topic
 * @property {string | Uint8Array} data
 * @property {string} position "" only of what presence tells
 * @property {boolean} kept it is in the history, if the topic has one
 * @property {Date} time when it was published, by the server's clock
 *
 * @typedef {object} Gap something may be missing before the next message: load anew what you show
 * @property {string} topic of the subscription
 * @property {"history" | "slow" | "broker"} reason the history does not reach back; this client reads too slowly; the broker missed something
 *
 * @typedef {object} SubscribeOptions
 * @property {string} [since] a position: get first what is kept behind it
 * @property {number} [last] without since: get first the last so many messages
 * @property {unknown} [info] what presence tells of this member
 * @property {(gap: Gap) => void} [onGap]
 * @property {(error: MillraceError) => void} [onError] the subscription has ended by itself: no right, a bad name,
 *   more topics than a connection may have
 *
 * @typedef {{recovered: boolean, sent: number}} Begun
 * @typedef {{key?: string, expires?: number, kept?: boolean}} PublishOptions expires is in seconds
 * @typedef {{position: string, members: number}} Published
 * @typedef {{since?: string, last?: number, limit?: number}} HistoryOptions
 */

var Millrace = (function (root) {
  const subprotocol = "millrace.topics.v1";
  const tokenProtocol = "millrace.token.";
  const maxWaitingBytes = 4 << 20; // of messages that wait to be published
  const maxBuffered = 8 << 20; // what a WebSocket may have unsent before a publish is refused
  const maxAsked = 50; // what a WebSocket is asked for at once, of all that waited for it
  const maxEvent = 64 << 20; // of an event stream, in characters
  const steady = 5000; // milliseconds that a connection has to live for the next back-off to begin anew

  // What repeating does not mend.
  const final = ["bad_request", "bad_name", "wildcard", "too_many", "forbidden"];
  // What passes: a subscription is tried again after it, on the same connection.
  const passing = ["too_fast", "no_room", "unknown", "closed"];
  // What the server itself says with 1008: too much, or too slowly. All else with 1008 is somebody's decision.
  const tooMuch = /^(outbound queue full|server short of memory|message timeout): |^too many (messages|bytes|empty fragments)( |$)/;

  /** An error has a word for programs, as in docs/gateway.md, or "no_connection", "timeout", "stopped". */
  class MillraceError extends Error {
    /**
     * @param {string} word
     * @param {string} message
     * @param {number} [code] the close code or the status that it came with
     */
    constructor(word, message, code = 0) {
      super(message);
      this.name = "MillraceError";
      this.word = word;
      this.code = code;
      this._topic = ""; // which of several it is about
    }
  }

  /** @param {string} topic */
  const isFilter = (topic) => /(^|\/)[+#](\/|$)/.test(topic);

  /** Whether a filter meets a topic, as in MQTT. @param {string} filter @param {string} topic */
  function meets(filter, topic) {
    const f = filter.split("/"), t = topic.split("/");
    if (t[0].startsWith("$") && (f[0] === "+" || f[0] === "#")) return false;
    for (let i = 0; i < f.length; i++) {
      if (f[i] === "#") return true; // a/# meets a too
      if (i >= t.length || f[i] !== "+" && f[i] !== t[i]) return false;
    }
    return f.length === t.length;
  }

  /** Why a text is neither a topic's name nor a filter, as the server says it; null: it is one. Its bounds only the server knows. @param {string} topic */
  function wrongName(topic) {
    const levels = topic.split("/"), quoted = JSON.stringify(topic.slice(0, 100));
    let why = "";
    if (topic.replace(/^\$presence\//, "") === "") why = "it is empty";
    else if (/\p{Surrogate}/u.test(topic)) why = `${quoted} has half a character`;
    else if (topic.includes("\0")) why = `${quoted} has a zero byte`;
    else if (levels.some((l) => l.length > 1 && /[+#]/.test(l))) why = `${quoted} has a wildcard beside other characters in one level`;
    else if (levels.slice(0, -1).includes("#")) why = `${quoted} has # before the last level`;
    return why ? new MillraceError("bad_name", `not a topic's name: ${why}`) : null;
  }

  /** What comes of a promise, or an error when the signal is given, whatever the promise does. @template T @param {AbortSignal} signal
   * @param {Promise<T>} promise @returns {Promise<T>} */
  function unlessAborted(signal, promise) {
    return new Promise((resolve, reject) => {
      const end = () => reject(new Error("no answer in time"));
      if (signal.aborted) end();
      signal.addEventListener("abort", end, { once: true });
      promise.then(resolve, reject).finally(() => signal.removeEventListener("abort", end));
    });
  }

  /** @param {Uint8Array} bytes */
  function toBase64(bytes) {
    let text = "";
    for (let i = 0; i < bytes.length; i += 0x8000) text += String.fromCharCode(...bytes.subarray(i, i + 0x8000));
    return btoa(text);
  }

  /** @param {string} text */
  const fromBase64 = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));

  /** @param {unknown} data @returns {string | Uint8Array} */
  function payloadOf(data) {
    if (typeof data === "string") return data;
    if (data instanceof ArrayBuffer) return new Uint8Array(data);
    if (ArrayBuffer.isView(data)) return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
    throw new TypeError("millrace: a message is a string or bytes (ArrayBuffer, Uint8Array): use JSON.stringify");
  }

  /** Calls what the user gave. What it throws is his, and stops nothing here. */
  function call(/** @type {Function | undefined} */ f, /** @type {unknown} */ value) {
    if (!f) return;
    try {
      f(value);
    } catch (error) {
      queueMicrotask(() => { throw error; });
    }
  }

  /** "word: message", as a close frame tells it. @param {number} code @param {string} reason */
  function closeError(code, reason) {
    const [, word, message] = /^([a-z_]+): ([^]*)$/.exec(reason) || [];
    /** @type {Record<number, string>} */
    const known = { 1001: "closed", 1009: "too_big", 1012: "closed", 1013: "no_room", 3000: "unauthorized", 3003: "forbidden", 4410: "history_gone" };
    return new MillraceError(word || known[code] || "no_connection", message || reason || `the connection ended with code ${code}`, code);
  }

  // # When to try again

  /** Whether repeating does not help. @param {MillraceError} error */
  function isFinal(error) {
    if (error.code === 3003 || final.includes(error.word)) return true;
    if (error.code !== 1008 || passing.includes(error.word)) return false;
    return error.word !== "no_connection" || !tooMuch.test(error.message);
  }

  /**
   * Says when to try again after a connection has ended. A Millrace goes by one; so may whoever keeps up a WebSocket of his own.
   * Waits are at random, so that clients do not come together.
   */
  class BackOff {
    /** @param {{least?: number, most?: number}} [bounds] milliseconds between tries. Default: 250 to 30,000 */
    constructor(bounds = {}) {
      this._bounds = { least: 250, most: 30000, ...bounds };
      this._tries = 0; // in a row that led to nothing lasting
      this._openedAt = 0; // 0: it is not open
    }

    /** Begins anew, as if nothing had failed. @returns {void} */
    reset() { this._tries = this._openedAt = 0; }

    /** The connection is open. @returns {void} */
    opened() { this._openedAt = Date.now(); }

    /**
     * The connection has ended, or could not be opened.
     * @param {{code: number, reason: string}} end a CloseEvent has both
     * @returns {{error: MillraceError, retryIn: number}} retryIn: milliseconds, or Infinity if the same request will be refused again
     */
    closed({ code, reason }) {
      const error = closeError(code, reason), wait = this._wait(error);
      return { error, retryIn: error.word === "unauthorized" || code === 4410 ? Infinity : wait };
    }

    /** How long to wait: closed, but that there may be a new token, or another position. @param {MillraceError} error
     * @param {boolean} [inAnyCase] also if it is final */
    _wait(error, inAnyCase = false) {
      if (this._openedAt && Date.now() - this._openedAt >= steady) this._tries = 0;
      this._openedAt = 0;
      if (isFinal(error) && !inAnyCase) return Infinity;
      const { least, most } = this._bounds, tries = this._tries++;
      const bound = Math.min(most, least * 2 ** Math.min(tries, 20));
      const soon = tries < 2 && [1001, 1012, 1013, 4410].includes(error.code);
      const wait = soon ? Math.random() * Math.min(1000, most) : bound / 2 + Math.random() * bound / 2;
      return error.code === 1008 || error.word === "too_fast" ? wait + 1000 : wait; // it was too much: not again at once
    }
  }

  // # Event streams, by fetch
  //
  // EventSource hides the status of a refusal and sets no headers; fetch does neither, and exists in Node.

  /**
   * Reads a stream and gives its events (WHATWG HTML, "Server-sent events").
   * @param {ReadableStream<Uint8Array>} body @param {() => void} heard @param {(name: string, data: string) => void} give
   */
  async function readEvents(body, heard, give) {
    const reader = body.getReader(), decoder = new TextDecoder();
    let rest = "", name = "", data = "", has = false, afterCR = false;
    const line = (/** @type {string} */ text) => {
      if (text === "") {
        if (has) give(name || "message", data.slice(0, -1));
        name = data = "";
        has = false;
        return;
      }
      const colon = text.indexOf(":");
      const field = colon < 0 ? text : text.slice(0, colon);
      const value = colon < 0 ? "" : text.slice(colon + (text[colon + 1] === " " ? 2 : 1));
      if (field === "event") name = value;
      if (field === "data") {
        data += value + "\n";
        has = true;
      }
    };
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return; // an event that is not whole is none
      heard();
      let chunk = decoder.decode(value, { stream: true });
      if (chunk === "") continue;
      if (afterCR && chunk[0] === "\n") chunk = chunk.slice(1);
      afterCR = chunk.endsWith("\r");
      if (!/[\r\n]/.test(chunk)) { // the midst of a long line
        rest += chunk;
        if (rest.length + data.length > maxEvent) throw new MillraceError("too_big", "an event is too long");
        continue;
      }
      const lines = (rest + chunk).split(/\r\n|\r|\n/);
      rest = /** @type {string} */ (lines.pop());
      if (rest.length + data.length > maxEvent) throw new MillraceError("too_big", "an event is too long");
      lines.forEach(line);
    }
  }

  /** A subscription: made by Millrace.subscribe. */
  class Subscription {
    /** @param {Millrace} client @param {string} topic @param {(message: Message) => void} onMessage @param {SubscribeOptions} options */
    constructor(client, topic, onMessage, options) {
      this.topic = topic;
      /** Everything up to here was given: to go on from here later, also in another page, give it as since. */
      this.position = options.since || "";
      /** @type {Promise<Begun>} settled when the server has answered for the first time */
      this.ready = new Promise((resolve, reject) => { this._settle = { resolve, reject }; });
      this.ready.catch(() => {}); // who does not ask does not want to know
      this._client = client;
      this._onMessage = onMessage;
      this._options = options;
      this._backOff = new BackOff({ least: 1000, ...client._options.backOff }); // while it is refused on a connection that stays
      this._filter = isFilter(topic);
      this._on = false; // on the connection that is open now
      /** @type {any} */
      this._timer = undefined; // until it is asked for again
      this._owed = false; // it had messages, or might have had: if not all since then come, that is a gap
      this._noHistory = false; // it may not be read, with this token
      this._begun = false; // it was on a connection once
    }

    /** Ends the subscription. What comes after the call is not given any more. @returns {void} */
    unsubscribe() { this._client._unsubscribe(this); }

    /** What it asks the server for. */
    _since() { return this._filter || this._noHistory ? "" : this.position; }
    _last() { return this.position || this._owed || this._filter ? 0 : this._options.last || 0; }

    /** @param {"history" | "slow" | "broker"} reason */
    _gap(reason) {
      const gap = { topic: this.topic, reason };
      call(this._options.onGap, gap);
      call(this._client._options.onGap, gap);
    }

    /** The server has said how it begins. @param {{position?: string, recovered?: boolean, sent?: number}} how */
    _begins(how) {
      // A topic without a position has given nothing: it begins once more.
      const missed = (this.position !== "" || this._owed) && !how.recovered;
      this._on = this._begun = true;
      this._owed = this._filter;
      if (how.position) this.position = how.position;
      this._settle.resolve({ recovered: !!how.recovered, sent: how.sent || 0 });
      if (missed) this._gap("history");
    }

    /** It is not on a connection any more, or not wanted: whether it is asked for again is decided anew. */
    _offline() {
      this._on = false;
      this._backOff.reset();
      clearTimeout(this._timer);
    }

    /** Whether it is refused for its past alone, which it has asked for by itself: then it goes on without. @param {MillraceError} error */
    _goesWithout(error) {
      if (error.word !== "forbidden" || !this._since() || this._options.since) return false;
      return this._noHistory = true;
    }

    /** @param {MillraceError} error */
    _fail(error) {
      this._client._forget(this);
      this._settle.reject(error);
      call(this._options.onError, error);
    }
  }

  /** A client of one server's topics, over one connection that it keeps up. It connects by itself. */
  class Millrace {
    /**
     * @param {string} [url] the server: http:, https:, ws: or wss:, with the path in front of /topics if there is one. Default: where
     *   the page comes from
     * @param {Options} [options]
     */
    constructor(url = "", options = {}) {
      const base = root.location && root.location.href;
      const full = new URL(url || "/", base || undefined);
      if (!/^(https?|wss?):$/.test(full.protocol)) throw new TypeError(`millrace: ${full.protocol} is no protocol for topics: use http:, https:, ws: or wss:`);
      full.protocol = full.protocol.replace("ws", "http");
      full.hash = full.search = "";
      /** Where the server is, without /topics. */
      this.url = full.href.replace(/\/+$/, "").replace(/\/topics$/, "");
      /** @type {State} */
      this.state = "closed";
      /** @type {"websocket" | "events" | ""} */
      this.transport = "";
      this._options = options;
      this._backOff = new BackOff(options.backOff);
      this._silence = options.silence || 30000;
      this._patience = options.patience || 10000;
      this._WebSocket = options.WebSocket || root.WebSocket;
      this._fetch = options.fetch || ((/** @type {[any, any]} */ ...a) => root.fetch(...a));
      /** @type {Map<string, Subscription>} */
      this._subscriptions = new Map();
      /** @type {Map<number, {done: (reply: any) => void, failed: (error: MillraceError) => void, timer: any}>} */
      this._requests = new Map();
      /** @type {Array<{topic: string, data: string | Uint8Array, options: PublishOptions, size: number, resolve: Function, reject: Function, timer: any}>} */
      this._waiting = [];
      this._waitingBytes = 0;
      this._lastID = 0;
      this._token = "";
      this._renewedAt = 0;
      this._refused = null; // the token that was
      this._onlyTopic = false; // it was for one topic: others can do with the same token
      this._everOpen = false;
      /** @type {any} the connection that counts; what others still say does not */
      this._connection = null;
      /** @type {any} */
      this._timer = null;
      /** @type {Array<{send: () => Promise<any>, size: number, resolve: Function, reject: Function}>} POSTs keep their order: these wait for others */
      this._posts = [];
      this._posting = false;
      this._spacing = 0; // milliseconds between what a WebSocket is asked for when it opens: more behind each that ended since it was too much
      this._wake = () => this._look();
      this.connect();
    }

    // # For users

    /** Connects again after the end, and tries at once while it waits. Subscriptions go on where they were. @returns {void} */
    connect() {
      if (this.state === "waiting") this._again();
      if (this.state !== "closed") return;
      if (root.addEventListener) {
        root.addEventListener("online", this._wake);
        if (root.document) root.document.addEventListener("visibilitychange", this._wake);
      }
      this._backOff.reset();
      this._refused = null;
      this._spacing = 0;
      this.state = "connecting";
      queueMicrotask(() => { if (this.state === "connecting" && !this._connection) this._again(); });
    }

    /** Ends the connection. What waits is refused; what is on its way may or may not arrive. @returns {void} */
    close() { this._end(null); }

    /**
     * Has onMessage called for each message of a topic, or of the topics that a filter meets: each once, in the topic's order, over
     * all connections; or tells onGap. A topic can be subscribed to once. Subscribe to topics before filters that meet them: else they
     * have no past.
     * @param {string} topic @param {(message: Message) => void} onMessage @param {SubscribeOptions} [options]
     * @returns {Subscription}
     */
    subscribe(topic, onMessage, options = {}) {
      if (this._subscriptions.has(topic)) throw new MillraceError("bad_request", `subscribed to "${topic}" already`);
      const s = new Subscription(this, topic, onMessage, options), wrong = wrongName(topic);
      if (wrong) { // the server would refuse it, and with it a whole event stream
        queueMicrotask(() => s._fail(wrong));
        return s;
      }
      this._subscriptions.set(topic, s);
      if (this._connection && this._connection.live) this._connection.subscribe(s); // else it is when it is open
      return s;
    }

    /** The subscription to a topic, if there is one. @param {string} topic */
    subscription(topic) { return this._subscriptions.get(topic); }

    /**
     * Publishes. Without a connection the message waits for one, as long as patience says. It is never sent twice: if the connection ends
     * before the answer, the error's word is "unknown", since the message may have been published.
     * @param {string} topic @param {string | ArrayBuffer | ArrayBufferView} data @param {PublishOptions} [options]
     * @returns {Promise<Published>}
     */
    publish(topic, data, options = {}) {
      return new Promise((resolve, reject) => {
        const payload = payloadOf(data), size = payload.length;
        if (this.state === "closed") throw new MillraceError("no_connection", "the client is closed");
        if (this.state === "open" && this._connection.ready()) return this._connection.publish(topic, payload, options).then(resolve, reject);
        this._takeRoom(size);
        const item = { topic, data: typeof payload === "string" ? payload : payload.slice(), options: { ...options }, size, resolve, reject, timer: /** @type {any} */ (null) };
        item.timer = setTimeout(() => {
          this._waiting.splice(this._waiting.indexOf(item), 1);
          this._waitingBytes -= size;
          reject(new MillraceError("no_connection", "not published: there is no connection, or what came before is not sent yet"));
        }, this._patience);
        this._waiting.push(item);
      });
    }

    /** Who is subscribed to a topic, where its rule has presence. @param {string} topic
     * @returns {Promise<{topic: string, count: number, members: Array<object>}>} */
    presence(topic) { return this._ask("GET", this._path("presence", topic)); }

    /** What a topic has now. @param {string} topic
     * @returns {Promise<{topic: string, subscribers: number, messages: number, bytes: number, position?: string}>} */
    stats(topic) { return this._ask("GET", this._path("stats", topic)); }

    /** What is kept of a topic. @param {string} topic @param {HistoryOptions} [options]
     * @returns {Promise<{topic: string, messages: Array<Message>, complete: boolean}>} */
    async history(topic, options = {}) {
      const query = new URLSearchParams();
      for (const name of /** @type {Array<keyof HistoryOptions>} */ (["since", "last", "limit"])) {
        if (options[name]) query.set(name, String(options[name]));
      }
      const found = await this._ask("GET", this._path("history", topic, query));
      return { ...found, messages: found.messages.map((/** @type {any} */ m) => this._message(m)) };
    }

    /** Forgets what is kept of a topic. @param {string} topic @returns {Promise<void>} */
    async purge(topic) { await this._ask("DELETE", this._path("history", topic)); }

    // # The connection's life

    /** @param {State} state @param {MillraceError | null} [error] @param {number} [retryIn] */
    _become(state, error = null, retryIn = 0) {
      this.state = state;
      if (state !== "open") this.transport = "";
      call(this._options.onState, { state, transport: this.transport, error, retryIn });
    }

    /** Tries a transport; the next one if this one can not be opened. @param {number} index */
    async _try(index) {
      const transports = (this._options.transports || ["websocket", "events"]).filter((t) => t !== "websocket" || this._WebSocket);
      const connection = transports[index] === "websocket" ? new Socket(this) : new Events(this, index > 0);
      this._connection = connection;
      if (index === 0 && !await this._getToken(connection)) return;
      connection.open((/** @type {MillraceError} */ error = this._unreachable()) => {
        if (this._connection !== connection) return;
        if (index + 1 < transports.length) this._try(index + 1);
        else this._lost(connection, error);
      });
    }

    _unreachable() {
      return new MillraceError("no_connection", `could not connect to ${this.url}: nothing listens there, or the server refused: wrong path, origin`);
    }

    /** Has a token for the next connection, and says whether that may open. @param {any} connection */
    async _getToken(connection) {
      let token;
      try {
        token = await this._givenToken(this._refused !== null);
      } catch (error) {
        this._lost(connection, new MillraceError("unauthorized", `the function for a token failed: ${error}`));
        return false;
      }
      if (this._connection !== connection) return false;
      this._setToken(token);
      if (this._refused === null || this._refused !== token || this._onlyTopic) return true;
      this._lost(connection, new MillraceError("unauthorized", "the token was refused, and there is no other one", 3000), { final: true });
      return false;
    }

    /** The token of the options, in time. @param {boolean} refused the last one was */
    async _givenToken(refused) {
      const { token } = this._options;
      if (typeof token !== "function") return token || "";
      const stop = new AbortController(), timer = setTimeout(() => stop.abort(), this._patience);
      try {
        return await unlessAborted(stop.signal, Promise.resolve(token(refused))) || "";
      } finally {
        clearTimeout(timer);
      }
    }

    /** Takes a token in place of the old one. It may allow what that did not. @param {string} token */
    _setToken(token) {
      if (token === this._token) return;
      this._token = token;
      for (const s of this._subscriptions.values()) s._noHistory = false;
    }

    /** Has a token for a plain request. Without one the request is not made. @param {boolean} refused the last one was */
    async _freshToken(refused) {
      try {
        this._setToken(await this._givenToken(refused));
      } catch (error) {
        throw new MillraceError("unauthorized", `the function for a token failed: ${error}`, 401);
      }
    }

    /**
     * Brings a new token before the old one ends. If there is none, the connection ends with the old one, and the next one asks again.
     * @param {any} connection @param {number} expiresIn seconds
     */
    async _renew(connection, expiresIn) {
      const { token } = this._options;
      if (typeof token !== "function") return;
      const often = Date.now() - this._renewedAt < 5000; // tokens that end as soon as they begin
      if (often) await new Promise((resolve) => setTimeout(resolve, Math.max(250, expiresIn * 500)));
      if (this._connection !== connection) return;
      this._renewedAt = Date.now();
      let next;
      try {
        next = await this._givenToken(false);
      } catch {
        return;
      }
      if (next && next !== this._token && this._connection === connection) connection.renew(next);
    }

    /** The connection works. @param {any} connection @param {"websocket" | "events"} transport */
    _opened(connection, transport) {
      if (this._connection !== connection || this.state === "open" && this.transport === transport) return;
      this._everOpen = true;
      this._refused = null;
      this._onlyTopic = false;
      this._backOff.opened();
      this.transport = transport;
      connection.flush(); // before anybody who is told publishes more
      if (this._connection === connection) this._become("open");
    }

    /** Publishes what has waited the longest. @returns {Promise<void>} */
    _publishWaiting() {
      const item = /** @type {any} */ (this._waiting.shift());
      clearTimeout(item.timer);
      this._waitingBytes -= item.size;
      return this._connection.publish(item.topic, item.data, item.options).then(item.resolve, item.reject);
    }

    /** Has room for one more message that waits, or throws. @param {number} size */
    _takeRoom(size) {
      if (this._waiting.length + this._posts.length >= (this._options.maxWaiting || 1000) || this._waitingBytes + size > maxWaitingBytes) {
        throw new MillraceError("no_room", "too many messages wait to be published");
      }
      this._waitingBytes += size;
    }

    /**
     * The connection is over. Tries again, if that can help.
     * @param {any} connection @param {MillraceError} error
     * @param {{final?: boolean, after?: number, inAnyCase?: boolean, onlyTopic?: boolean}} [how] after: milliseconds that the server wants;
     *   inAnyCase: try again, whatever the error says; onlyTopic: only one topic is refused
     */
    _lost(connection, error, how = {}) {
      if (this._connection !== connection) return;
      if (error.code === 1008 && /^too many (messages|bytes) a second$/.test(error.message) && connection.isAsking()) {
        this._spacing = Math.min(1000, 2 * this._spacing || 20);
      }
      this._leave(error.message, error.code);
      if (error.code === 4410) { // nothing behind the positions can be had
        for (const s of this._subscriptions.values()) {
          s._owed = s._owed || s.position !== "";
          s.position = "";
        }
      }
      let wait = this._backOff._wait(error, how.inAnyCase);
      if (how.final || wait === Infinity) return this._end(error);
      if (error.word === "unauthorized" && error.code) {
        if (this._refused === null) wait = 0; // the first time: with a new token at once
        this._refused = this._token;
        this._onlyTopic = !!how.onlyTopic;
        if (typeof this._options.token !== "function") return this._end(error);
      }
      wait = Math.max(wait, how.after || 0);
      this._timer = setTimeout(() => this._again(), wait);
      this._become("waiting", error, wait);
    }

    _again() {
      clearTimeout(this._timer);
      this._become("connecting");
      if (this.state === "connecting" && !this._connection) this._try(0);
    }

    /** Looks after the connection: the network is back, or the page is seen again. */
    _look() {
      if (this.state === "waiting") this._again();
      else if (this.state === "open") this._connection.probe();
    }

    /** Lets the connection go. What it owes an answer is unknown. @param {string} why @param {number} [code] */
    _leave(why, code) {
      const connection = this._connection;
      this._connection = null;
      clearTimeout(this._timer);
      if (connection) connection.drop();
      for (const s of this._subscriptions.values()) s._offline();
      for (const { failed, timer } of [...this._requests.values()]) {
        clearTimeout(timer);
        failed(new MillraceError("unknown", `the connection ended before the answer: ${why}`, code));
      }
      this._requests.clear();
    }

    /** Ends it for good. @param {MillraceError | null} error */
    _end(error) {
      if (this.state === "closed") return;
      this._leave(error ? error.message : "the client was closed");
      if (root.removeEventListener) {
        root.removeEventListener("online", this._wake);
        if (root.document) root.document.removeEventListener("visibilitychange", this._wake);
      }
      for (const item of this._waiting.splice(0)) {
        clearTimeout(item.timer);
        item.reject(error || new MillraceError("no_connection", "not published: the client was closed"));
      }
      for (const { reject } of this._posts.splice(0)) reject(error || new MillraceError("no_connection", "not published: the client was closed"));
      this._waitingBytes = 0;
      for (const s of this._subscriptions.values()) s._settle.reject(error || new MillraceError("stopped", "the client was closed"));
      this._become("closed", error);
    }

    // # What comes

    /** @param {any} m */
    _message(m) {
      const data = m.data === undefined ? fromBase64(m.binary) : m.data;
      return { topic: m.topic, data, position: m.position || "", kept: m.kept !== false, time: new Date(m.time) };
    }

    /** Gives a message to who is subscribed. @param {any} envelope */
    _deliver(envelope) {
      const message = this._message(envelope);
      for (const s of [...this._subscriptions.values()]) {
        if (!s._on || !(s._filter ? meets(s.topic, message.topic) : s.topic === message.topic)) continue;
        if (!s._filter && message.position) s.position = message.position;
        call(s._onMessage, message);
      }
    }

    /** @param {"slow" | "broker"} reason @param {string} topic # is all */
    _tellGap(reason, topic) {
      for (const s of [...this._subscriptions.values()]) {
        if (topic === "#" || s.topic === topic || isFilter(topic) && meets(topic, s.topic) || s._filter && meets(s.topic, topic)) s._gap(reason);
      }
    }

    /** Topics come before filters, which would have them have no past. */
    _inOrder() { return [...this._subscriptions.values()].sort((a, b) => Number(a._filter) - Number(b._filter)); }

    /** @param {Subscription} s */
    _unsubscribe(s) {
      if (this._subscriptions.get(s.topic) !== s) return;
      this._forget(s);
      s._settle.reject(new MillraceError("stopped", "unsubscribed"));
      if (this._connection && this._connection.live) this._connection.unsubscribe(s);
    }

    /** @param {Subscription} s */
    _forget(s) {
      s._offline();
      if (this._subscriptions.get(s.topic) === s) this._subscriptions.delete(s.topic);
    }

    // # Plain requests

    /** @param {string} area @param {string} topic @param {URLSearchParams} [query] */
    _path(area, topic, query = new URLSearchParams()) {
      query.set("topic", topic);
      return `/${area}?${query}`;
    }

    /** @param {string} method @param {string} path @param {Record<string, string>} headers @param {any} body @param {AbortSignal} [signal] */
    _request(method, path, headers, body, signal) {
      if (this._token) headers = { ...headers, Authorization: "Bearer " + this._token };
      return this._fetch(this.url + path, { method, headers, body, signal, cache: "no-store", credentials: this._options.credentials || "same-origin" });
    }

    /**
     * Asks, once more with a new token if the old one is refused, and gives the answer.
     * @param {string} method @param {string} path @param {Record<string, string>} [headers] @param {any} [body]
     * @returns {Promise<any>}
     */
    async _ask(method, path, headers = {}, body) {
      if (!this._token) await this._freshToken(false);
      for (let again = false; ; again = true) {
        const stop = new AbortController();
        const timer = setTimeout(() => stop.abort(), this._patience);
        const token = this._token;
        try {
          const answer = await unlessAborted(stop.signal, this._request(method, path, headers, body, stop.signal));
          if (answer.status === 204) return null;
          if (answer.ok) return await unlessAborted(stop.signal, answer.json());
          if (answer.status === 401 && !again && typeof this._options.token === "function") {
            if (token === this._token) await this._freshToken(true);
            continue;
          }
          throw await refusal(answer, stop.signal);
        } catch (error) {
          if (error instanceof MillraceError) throw error;
          if (method === "GET") throw stop.signal.aborted ? new MillraceError("timeout", "no answer in time") : this._unreachable();
          throw new MillraceError("unknown", "the connection ended before the answer");
        } finally {
          clearTimeout(timer);
        }
      }
    }

    /** @param {string} topic @param {string | Uint8Array} data @param {PublishOptions} options @returns {Promise<Published>} */
    _post(topic, data, options) {
      /** @type {Record<string, string>} */
      const headers = { "Content-Type": typeof data === "string" ? "text/plain; charset=utf-8" : "application/octet-stream" };
      if (options.key) headers["Millrace-Key"] = options.key;
      if (options.expires) headers["Millrace-Expires"] = String(options.expires);
      if (options.kept === false) headers["Millrace-Not-Kept"] = "1";
      return new Promise((resolve, reject) => {
        const body = typeof data === "string" ? data : data.slice(), size = this._posting ? data.length : 0;
        if (this._posting) this._takeRoom(size);
        this._posts.push({ send: () => this._ask("POST", this._path("topics", topic), headers, body), size, resolve, reject });
        this._nextPost();
      });
    }

    /** Posts what has waited the longest, unless one is under way. */
    _nextPost() {
      const post = this._posting ? undefined : this._posts.shift();
      if (!post) return;
      this._posting = true;
      this._waitingBytes -= post.size;
      post.send().then((answer) => post.resolve(answer), (error) => post.reject(error)).then(() => {
        this._posting = false;
        this._nextPost();
      });
    }
  }

  /** What a refusing answer says, or its status if the rest does not come. @param {Response} answer @param {AbortSignal} signal */
  async function refusal(answer, signal) {
    const text = await unlessAborted(signal, answer.text()).catch(() => "");
    try {
      const { error, message, topic } = JSON.parse(text);
      if (typeof error === "string") return refusedWith(error, message, topic, answer.status);
    } catch { /* it is not the gateway's */ }
    const word = { 401: "unauthorized", 403: "refused", 404: "refused", 429: "too_fast" }[answer.status] || "no_connection";
    const says = text.slice(0, 200).replace(`${answer.status} `, "").trim(); // Go's own pages begin with the status
    return new MillraceError(word, `${answer.url} answered ${answer.status} ${says}`, answer.status);
  }

  /** @param {string} word @param {unknown} message @param {unknown} topic @param {number} [code] */
  function refusedWith(word, message, topic, code) {
    const error = new MillraceError(word, String(message), code);
    if (typeof topic === "string") error._topic = topic;
    return error;
  }

  // # The transports

  /** Looks whether the server still says something. */
  class Watch {
    /** @param {number} silence @param {number} patience @param {(() => void) | null} ask @param {() => void} dead */
    constructor(silence, patience, ask, dead) {
      this._silence = silence;
      this._patience = patience;
      this._ask = ask;
      this._dead = dead;
      this._heardAt = Date.now();
      this._arm(silence);
    }

    heardAt() { return this._heardAt; }

    heard() {
      this._heardAt = Date.now();
      if (this._asked) this._arm(this._silence);
    }

    /** Asks now. */
    probe() {
      if (this._asked || !this._ask) return;
      this._arm(this._patience);
      this._asked = true;
      this._ask();
    }

    stop() { clearTimeout(this._timer); }

    /** @param {number} after */
    _arm(after) {
      clearTimeout(this._timer);
      this._asked = false;
      this._timer = setTimeout(() => this._look(), after);
    }

    _look() {
      const left = this._heardAt + this._silence - Date.now();
      if (this._asked || left <= 0 && !this._ask) return this._dead();
      if (left > 0) return this._arm(left);
      this.probe();
    }
  }

  const silent = new MillraceError("no_connection", "the server has fallen silent");

  /** A WebSocket with envelopes. */
  class Socket {
    /** @param {Millrace} client */
    constructor(client) {
      this._client = client;
      this.live = false; // it takes subscriptions
      /** @type {WebSocket | null} */
      this._socket = null;
      /** @type {Watch | null} */
      this._watch = null;
      /** @type {any} */
      this._timer = null;
      this._in = false; // the server has said so
      /** @type {Subscription[]} */
      this._line = []; // to be asked for
      this._asked = 0; // of these, and of the messages that waited, without an answer yet
      this._nextAt = 0; // when the next one may go
      /** @type {any} */
      this._pause = null;
    }

    /** @param {() => void} failed it can not be opened @param {Events | null} [instead] whose place it takes once it is open */
    open(failed, instead = null) {
      const c = this._client, protocols = [subprotocol];
      let url = c.url.replace(/^http/, "ws") + "/topics";
      if (c._token && /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/.test(c._token)) protocols.push(tokenProtocol + c._token);
      else if (c._token) url += "?token=" + encodeURIComponent(c._token);
      /** @type {WebSocket} */
      let socket;
      try {
        socket = new c._WebSocket(url, protocols);
      } catch {
        return failed(); // a page over https: that may not open ws:
      }
      this._socket = socket;
      const notOpened = () => {
        this.drop();
        failed();
      };
      const timer = setTimeout(notOpened, c._patience);
      this._timer = timer;
      socket.onopen = () => {
        clearTimeout(timer);
        if (instead && (socket.protocol !== subprotocol || !instead.makesWay(this))) return notOpened();
        if (socket.protocol !== subprotocol) return c._lost(this, new MillraceError("refused", `${url} speaks something else than ${subprotocol}`), { final: true });
        this._watch = new Watch(c._silence, c._patience, () => this._ping(), () => c._lost(this, silent));
        this.live = true;
        this._line = c._inOrder();
        for (const s of this._line) s._noHistory = false; // asking costs little here
        this._ping(); // the answer says that we are in
        this._next();
      };
      socket.onmessage = (e) => this._hear(e.data);
      socket.onerror = () => { if (!this._watch) notOpened(); }; // onclose follows, but not in Node 20
      socket.onclose = (e) => {
        if (!this._watch) return notOpened();
        c._lost(this, closeError(e.code, e.reason));
      };
    }

    drop() {
      clearTimeout(this._timer);
      clearTimeout(this._pause);
      if (this._watch) this._watch.stop();
      const socket = this._socket;
      this._socket = null;
      if (!socket) return;
      socket.onopen = socket.onmessage = socket.onclose = null;
      socket.onerror = () => {};
      socket.close(1000);
    }

    probe() { if (this._watch) this._watch.probe(); }

    _ping() { this._say({ ping: true }, () => this._client._opened(this, "websocket"), () => {}); }

    /** Whether a message may go at once: nothing stands before it. */
    ready() { return this._in && !this.isAsking(true); }

    /** Whether it is still at what waited for it. @param {boolean} [unsaid] and something is not said yet */
    isAsking(unsaid = false) { return this._line.length + this._client._waiting.length > 0 || !unsaid && this._asked > 0; }

    /** The server has let us in: publishes what waited. */
    flush() {
      this._in = true;
      this._next();
    }

    /** Asks for what waits, as answers come: servers bound what comes in a second. First the subscriptions, then the messages. */
    _next() {
      const c = this._client;
      clearTimeout(this._pause);
      while (c._connection === this && this._asked < maxAsked && (this._line.length > 0 || this._in && c._waiting.length > 0)) {
        const early = c._spacing > 0 ? this._nextAt - Date.now() : 0;
        if (early > 0) {
          this._pause = setTimeout(() => this._next(), early);
          return;
        }
        this._nextAt = Date.now() + c._spacing;
        this._asked++;
        const s = this._line.shift(), answered = () => {
          this._asked--;
          this._next();
        };
        if (s) this._ask(s, answered);
        else c._publishWaiting().then(answered);
      }
    }

    /** Says something, and waits for the answer, as long as something comes: the answer may be behind that. @param {object} what
     * @param {(reply: any) => void} done @param {(error: MillraceError) => void} failed
     * @param {boolean} [lost] without an answer in time the connection is */
    _say(what, done, failed, lost = false) {
      const c = this._client, id = ++c._lastID;
      const late = () => {
        const left = this._watch ? this._watch.heardAt() + c._patience - Date.now() : 0;
        if (left > 0) {
          request.timer = setTimeout(late, left);
          return;
        }
        c._requests.delete(id);
        failed(new MillraceError("unknown", "no answer in time"));
        if (lost) c._lost(this, silent);
      };
      const request = { done, failed, timer: /** @type {any} */ (setTimeout(late, c._patience)) };
      c._requests.set(id, request);
      if (this._socket) this._socket.send(JSON.stringify({ id, ...what }));
    }

    /** @param {string} text */
    _hear(text) {
      const c = this._client;
      if (this._watch) this._watch.heard();
      let m;
      try {
        m = JSON.parse(text);
      } catch {
        return c._lost(this, new MillraceError("refused", "the server speaks something else than " + subprotocol));
      }
      if (m.topic !== undefined && m.id === undefined) return c._deliver(m);
      if (m.id !== undefined) return this._answer(m);
      if (m.missed) c._tellGap("slow", "#");
      if (m.gap) c._tellGap("broker", m.gap);
      if (m.expires_in !== undefined) c._renew(this, m.expires_in);
    }

    /** @param {any} m */
    _answer(m) {
      const request = this._client._requests.get(m.id);
      if (!request) return;
      this._client._requests.delete(m.id);
      clearTimeout(request.timer);
      if (m.ok) request.done(m);
      else request.failed(new MillraceError(m.error, m.message));
    }

    /** @param {Subscription} s */
    subscribe(s) {
      this._line.push(s);
      this._next();
    }

    /** @param {Subscription} s @param {() => void} answered */
    _ask(s, answered) {
      const c = this._client, since = s._since(), last = since ? 0 : s._last();
      /** @type {any} */
      const what = { subscribe: s.topic };
      if (since) what.since = since;
      if (last) what.last = last;
      if (s._options.info !== undefined) what.info = s._options.info;
      const isOurs = () => c._subscriptions.get(s.topic) === s;
      this._say(what, (reply) => {
        if (isOurs()) s._begins(reply);
        answered();
      }, (error) => {
        answered();
        if (!isOurs() || c._connection !== this) return; // it is said again on the next connection
        if (s._goesWithout(error)) {
          this._line.unshift(s);
          this._next();
        } else if (passing.includes(error.word)) {
          s._timer = setTimeout(() => this.subscribe(s), s._backOff._wait(error));
        } else {
          s._fail(error);
        }
      }, true);
    }

    /** @param {Subscription} s */
    unsubscribe(s) {
      const i = this._line.indexOf(s);
      if (i >= 0) this._line.splice(i, 1); // it was not asked for yet
      else this._say({ unsubscribe: s.topic }, () => {}, () => {}, true);
    }

    /** @param {string} topic @param {string | Uint8Array} data @param {PublishOptions} options @returns {Promise<Published>} */
    publish(topic, data, options) {
      return new Promise((resolve, reject) => {
        if (this._socket && this._socket.bufferedAmount > maxBuffered) throw new MillraceError("no_room", "what was published before is not sent yet");
        /** @type {any} */
        const what = { publish: topic };
        if (typeof data === "string") what.data = data;
        else what.binary = toBase64(data);
        if (options.key) what.key = options.key;
        if (options.expires) what.expires = options.expires;
        if (options.kept === false) what.kept = false;
        this._say(what, ({ position, members }) => resolve({ position, members }), reject);
      });
    }

    /** Takes a new token in place of the old one. @param {string} token */
    renew(token) {
      const c = this._client;
      this._say({ token }, (reply) => {
        c._setToken(token);
        for (const topic of reply.unsubscribed || []) {
          const s = c._subscriptions.get(topic);
          if (s) s._fail(new MillraceError("forbidden", "the new token does not allow it"));
        }
      }, () => {});
    }
  }

  /** An event stream with all subscriptions in its URL. A subscription more or less is another stream. */
  class Events {
    /** @param {Millrace} client @param {boolean} fallback another transport comes first, and may be there again soon */
    constructor(client, fallback) {
      this._client = client;
      this.live = false; // it takes subscriptions
      this._fallback = fallback;
      this._stop = new AbortController();
      this._closing = /** @type {MillraceError | null} */ (null);
      this._again = false;
      /** @type {Watch | null} */
      this._watch = null;
      /** @type {any} */
      this._timer = null;
      this._idle = false; // it has no subscription, and so no stream
      this._pauses = new BackOff(client._options.backOff); // between two looks, while it is idle
      /** @type {Socket | null} */
      this._successor = null; // it is tried while this one is idle
    }

    /** @param {(error?: MillraceError) => void} failed it can not be opened */
    async open(failed) {
      const c = this._client, { signal } = this._stop, asked = c._inOrder();
      this.live = true;
      this._timer = setTimeout(() => this._stop.abort(), c._patience);
      let answer, error = null;
      try {
        answer = await unlessAborted(signal, c._request("GET", this._target(asked), { Accept: "text/event-stream" }, undefined, signal));
        const type = answer.headers.get("Content-Type") || "";
        if (answer.status !== 200 || !type.startsWith("text/event-stream") || !answer.body) error = await refusal(answer, signal);
      } catch {
        return failed();
      } finally {
        clearTimeout(this._timer);
      }
      if (c._connection !== this) return;
      if (error && asked.length === 0 && answer.status === 400) return this._rest(); // there is nothing to stream, and the gateway has said so
      if (error) return this._refused(answer, error, asked, failed);
      const watch = this._watch = new Watch(2 * c._silence, c._patience, null, () => c._lost(this, silent));
      try {
        await readEvents(/** @type {any} */ (answer.body), () => watch.heard(), (name, data) => this._hear(name, data));
      } catch { /* it is over in any case */ }
      const ended = this._closing || new MillraceError("no_connection", "the event stream ended");
      c._lost(this, ended, { after: this._closing && [1001, 1012].includes(ended.code) ? 200 + Math.random() * 1800 : 0 });
    }

    /** Waits for subscriptions. Nothing would tell that the server has gone, or that a WebSocket could be opened: so it looks. */
    _rest() {
      const c = this._client;
      this._idle = true;
      this._timer = setTimeout(() => this.probe(), this._fallback ? this._pauses._wait(new MillraceError("no_connection", "")) : 2 * c._silence);
      c._opened(this, "events");
    }

    /** Looks, while it is idle. Comments of a stream come all the time, and are looked after. */
    probe() {
      if (!this._idle || this._successor || this._client._connection !== this) return;
      clearTimeout(this._timer);
      if (!this._fallback) return this._reopen();
      this._successor = new Socket(this._client);
      this._successor.open(() => this._reopen(), this);
    }

    /** Lets a WebSocket take its place, if it is still idle. @param {Socket} successor */
    makesWay(successor) {
      const c = this._client;
      if (c._connection !== this || this._again) return false;
      this._successor = null;
      this.drop();
      c._connection = successor;
      return true;
    }

    /** Tells why there is no stream. @param {Response} answer @param {MillraceError} error @param {Subscription[]} asked
     * @param {(error?: MillraceError) => void} failed */
    _refused(answer, error, asked, failed) {
      const c = this._client, { status } = answer;
      if (status === 426) return failed(new MillraceError("no_connection", `${c.url} has no event streams`, status));
      if (status === 410) error.code = 4410;
      if (status === 414 || status === 431) {
        error = new MillraceError("too_many", `the URL of an event stream with ${asked.length} subscriptions is longer than the server takes: subscribe to fewer topics, or by a WebSocket`, status);
      }
      const more = asked.filter((s) => !s._begun); // which have made it so
      if (error.word === "too_many" && !error._topic && more.length > 0 && more.length < asked.length) return this._without(more, error);
      const refused = c._subscriptions.get(error._topic);
      const onlyTopic = refused !== undefined && asked.includes(refused);
      const mayAsk = error.word === "unauthorized" && typeof c._options.token === "function" && c._refused === null;
      if (onlyTopic && !mayAsk) return this._without([refused], error);
      // Who was in before comes again: it may be the answer of a proxy whose server is away for a moment.
      const passes = status >= 500 || [401, 408, 410, 425, 429].includes(status) || c._everOpen && status !== 204 && status !== 414 && status !== 431;
      const after = Math.min(60000, Number(answer.headers.get("Retry-After")) * 1000 || 0);
      // Another transport may have failed for a moment: it is asked again, whatever is said here.
      c._lost(this, error, { final: !passes && !this._fallback, inAnyCase: this._fallback, after, onlyTopic });
    }

    /** Goes on without what is refused, or without its past. @param {Subscription[]} refused @param {MillraceError} error */
    _without(refused, error) {
      for (const s of refused) {
        if (!s._goesWithout(error)) s._fail(error);
      }
      this._reopen();
    }

    /** @param {Subscription[]} asked */
    _target(asked) {
      const query = new URLSearchParams({ envelope: "1" });
      let info;
      for (const s of asked) {
        query.append("topic", s.topic);
        if (s._options.info !== undefined) info = s._options.info;
      }
      if (asked.some((s) => s._since())) asked.forEach((s) => query.append("since", s._since()));
      const lasts = asked.map((s) => s._since() ? 0 : s._last());
      if (lasts.some((last) => last !== lasts[0])) lasts.forEach((last) => query.append("last", String(last)));
      else if (lasts[0]) query.set("last", String(lasts[0]));
      if (info !== undefined) query.set("info", JSON.stringify(info));
      return `/topics?${query}`;
    }

    /** @param {string} name @param {string} data */
    _hear(name, data) {
      const c = this._client;
      if (c._connection !== this) return;
      const m = JSON.parse(data);
      if (name === "subscribed") {
        c._opened(this, "events");
        for (const how of m.topics) {
          const s = c._subscriptions.get(how.topic);
          if (s) s._begins(how);
        }
      }
      if (name === "message") c._deliver(m);
      if (name === "missed") c._tellGap("slow", "#");
      if (name === "gap") c._tellGap("broker", m.gap);
      if (name === "expires") c._renew(this, m.expires_in);
      const refused = name === "refused" && c._subscriptions.get(m.topic);
      if (refused && !passing.includes(m.error)) this._without([refused], refusedWith(m.error, m.message, m.topic));
      if (name === "close") this._closing = closeError(m.code, m.reason || "");
    }

    /** @param {string} token */
    renew(token) {
      this._client._setToken(token);
      this._reopen();
    }

    ready() { return true; }

    isAsking() { return false; }

    /** Publishes what waited. */
    flush() { while (this._client._waiting.length > 0) this._client._publishWaiting(); }

    subscribe() { this._reopen(); }
    unsubscribe() { this._reopen(); }

    /** Opens another stream in place of this one, for all changes of a moment. */
    _reopen() {
      if (this._again) return;
      this._again = true;
      queueMicrotask(() => {
        const c = this._client;
        if (c._connection !== this) return;
        const next = new Events(c, this._fallback);
        if (this._idle) next._pauses = this._pauses;
        c._connection = next;
        this.drop();
        for (const s of c._subscriptions.values()) s._on = false;
        next.open((error = c._unreachable()) => c._lost(next, error));
      });
    }

    drop() {
      clearTimeout(this._timer);
      if (this._watch) this._watch.stop();
      if (this._successor) this._successor.drop();
      this._stop.abort();
    }

    /** @param {string} topic @param {string | Uint8Array} data @param {PublishOptions} options */
    publish(topic, data, options) { return this._client._post(topic, data, options); }
  }

  return Object.assign(Millrace, { Error: MillraceError, BackOff });
})(/** @type {any} */ (globalThis));
/** @type {any} */ (globalThis).Millrace = Millrace;
if (typeof module === "object" && module.exports) module.exports = Millrace;
