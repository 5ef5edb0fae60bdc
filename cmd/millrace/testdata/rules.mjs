// What millrace.js does about close codes, statuses, silence and odd bytes, with servers that are made up here: see TestJavaScriptRules.
import assert from "node:assert/strict";
import "../../../client/millrace.js";

const backOff = { least: 8, most: 64 };

// FakeSocket is a WebSocket whose server is the function of the moment.
class FakeSocket {
  constructor(url, protocols) {
    Object.assign(this, { url, protocols, protocol: "millrace.topics.v1", bufferedAmount: 0, said: [] });
    FakeSocket.made.push(this);
    queueMicrotask(() => FakeSocket.server(this));
  }
  send(text) {
    this.said.push(JSON.parse(text));
    this.onsaid?.(JSON.parse(text));
  }
  hear(m) { this.onmessage?.({ data: JSON.stringify(m) }); }
  end(code, reason = "") { this.onclose?.({ code, reason }); }
  close() {}
}

// serving answers pings and subscriptions, and then does what then says; said sees all before.
const serving = (then = () => {}, said = () => {}) => (socket) => {
  socket.onsaid = ({ id, ping, subscribe, since, ...rest }) => {
    said(socket, { id, ...rest });
    if (ping) socket.hear({ id, ok: true });
    if (subscribe) socket.hear({ id, ok: true, topic: subscribe, position: "E-1", recovered: !!since, sent: 0 });
    if (subscribe) queueMicrotask(() => then(socket));
  };
  socket.onopen();
};

// ends is what comes of a connection that is open and ends with a code: the change of the state, and the client.
function ends(code, reason, options = {}) {
  FakeSocket.made = [];
  FakeSocket.server = serving((socket) => socket.end(code, reason));
  return new Promise((resolve) => {
    const gaps = [];
    const client = new Millrace("http://fake.test", { transports: ["websocket"], WebSocket: FakeSocket, ...options, onState: (change) => {
      if (change.state === "waiting" || change.state === "closed") resolve({ ...change, client, gaps });
    }, onGap: (g) => gaps.push(g) });
    client.subscribe("a", () => {});
  });
}

// Codes.
for (const [code, reason, state, least, most, word] of [
  [1001, "closed: the server stops", "waiting", 0, 1000, "closed"],
  [1012, "", "waiting", 0, 1000, "closed"],
  [1013, "no_room: try again", "waiting", 0, 1000, "no_room"],
  [1006, "", "waiting", 125, 250, "no_connection"],
  [1000, "", "waiting", 125, 250, "no_connection"],
  [1009, "", "waiting", 125, 250, "too_big"],
  [1011, "internal: x", "waiting", 125, 250, "internal"],
  [1008, "outbound queue full: reading too slowly", "waiting", 1000, 1250, "no_connection"],
  [1008, "server short of memory: reading too slowly", "waiting", 1000, 1250, "no_connection"],
  [1008, "server short of memory: a message is unfinished for too long", "waiting", 1000, 1250, "no_connection"],
  [1008, "message timeout: it comes too slowly", "waiting", 1000, 1250, "no_connection"],
  [1008, "too many messages a second", "waiting", 1000, 1250, "no_connection"],
  [1008, "too many bytes a second", "waiting", 1000, 1250, "no_connection"],
  [1008, "too many empty fragments", "waiting", 1000, 1250, "no_connection"],
  [1008, "too_fast: wait", "waiting", 1000, 1250, "too_fast"],
  [1008, "no_room: wait", "waiting", 1000, 1250, "no_room"],
  [1008, "bad_request: x", "closed", 0, 0, "bad_request"],
  [1008, "too_many: x", "closed", 0, 0, "too_many"],
  [1008, "some proxy's policy", "closed", 0, 0, "no_connection"],
  [1008, "", "closed", 0, 0, "no_connection"],
  [1008, "banned: your account was closed", "closed", 0, 0, "banned"], // an administrator's
  [1008, "banned: too many messages a second", "closed", 0, 0, "banned"],
  [1008, "you have said too many rude things", "closed", 0, 0, "no_connection"],
  [3003, "forbidden: x", "closed", 0, 0, "forbidden"],
  [3000, "unauthorized: x", "closed", 0, 0, "unauthorized"],
  [4410, "history_gone: x", "waiting", 0, 1000, "history_gone"],
]) {
  const got = await ends(code, reason);
  assert.equal(got.state, state, `${code} ${reason}: ${got.state}`);
  assert.equal(got.error.word, word, `${code} ${reason}`);
  if (state === "waiting") assert.ok(got.retryIn >= least && got.retryIn <= most, `${code} ${reason}: again in ${got.retryIn}`);
  got.client.close();
  const { error, retryIn } = new Millrace.BackOff().closed({ code, reason }); // which has no other token, and no other position
  assert.equal(error.word, word, `${code} ${reason}`);
  if (state === "closed" || code === 4410) assert.equal(retryIn, Infinity, `${code} ${reason}`);
  else assert.ok(retryIn >= least && retryIn <= most, `${code} ${reason}: alone again in ${retryIn}`);
}

// A connection that lasts begins the pauses anew, and so does reset.
{
  const pauses = new Millrace.BackOff(backOff), now = Date.now;
  const ends = (least, most) => {
    const { retryIn } = pauses.closed({ code: 1006, reason: "" });
    assert.ok(retryIn >= least && retryIn <= most, `${retryIn} is not ${least} to ${most}`);
  };
  ends(4, 8);
  pauses.opened();
  ends(8, 16);
  pauses.opened();
  Date.now = () => now() + 5000;
  ends(4, 8);
  ends(8, 16);
  Date.now = now;
  pauses.reset();
  ends(4, 8);
}

// 4410 is told as a gap, and the position is not asked for again.
{
  const { client, gaps } = await ends(4410, "history_gone: x", { backOff });
  FakeSocket.server = serving(() => client.close());
  await new Promise((resolve) => setTimeout(resolve, 1100));
  assert.deepEqual(gaps, [{ topic: "a", reason: "history" }]);
  assert.deepEqual(FakeSocket.made.map((s) => s.said.find((m) => m.subscribe).since), [undefined, undefined]);
}

// A subscription that is refused for what may pass is tried again on the same connection, with pauses that grow and begin anew.
{
  FakeSocket.made = [];
  const pauses = [], timeout = globalThis.setTimeout;
  globalThis.setTimeout = (f, ms, ...rest) => {
    if (ms <= 160) pauses.push(ms);
    return timeout(f, ms, ...rest);
  };
  let asked = 0;
  FakeSocket.server = (socket) => {
    socket.onsaid = ({ id, subscribe }) => {
      if (!subscribe) return;
      if (++asked % 5) socket.hear({ id, error: "no_room", message: "x" });
      else socket.hear({ id, ok: true, topic: subscribe, recovered: false, sent: 0 });
    };
    socket.onopen();
  };
  const bounds = { least: 40, most: 160 };
  const client = new Millrace("http://fake.test", { transports: ["websocket"], WebSocket: FakeSocket, backOff: bounds });
  await client.subscribe("a", () => {}).ready;
  const ranges = [[20, 40], [40, 80], [80, 160], [80, 160]]; // to its bound
  assert.equal(pauses.length, ranges.length, `${pauses}`);
  ranges.forEach(([least, most], i) => assert.ok(pauses[i] >= least && pauses[i] <= most, `pauses of ${pauses}`));
  client.subscribe("b", () => {}).unsubscribe(); // refused for the first time, with nothing to come
  await new Promise((resolve) => timeout(resolve, 200));
  assert.equal(asked, 6);
  assert.deepEqual(FakeSocket.made.length, 1);
  globalThis.setTimeout = timeout;
  client.close();
}

// The pause grows to its bound, and is never as long for two.
{
  FakeSocket.made = [];
  FakeSocket.server = (socket) => socket.end(1006);
  const pauses = [];
  const fetch = () => Promise.reject(new TypeError("nothing there"));
  await new Promise((resolve) => {
    const client = new Millrace("http://fake.test", { WebSocket: FakeSocket, fetch, backOff, onState: ({ state, retryIn, error }) => {
      if (state !== "waiting") return;
      assert.match(error.message, /^could not connect to http:\/\/fake\.test: nothing listens there, or the server refused: wrong path, origin$/);
      if (pauses.push(retryIn) === 8) {
        client.close();
        resolve();
      }
    } });
  });
  pauses.forEach((pause, i) => {
    const bound = Math.min(64, 8 * 2 ** i);
    assert.ok(pause >= bound / 2 && pause <= bound, `pause ${i}: ${pause}`);
  });
  assert.ok(new Set(pauses).size > 6);
}

// Statuses of event streams.
for (const [status, headers, body, state, word] of [
  [401, {}, `{"error":"unauthorized","message":"x"}`, "closed", "unauthorized"],
  [403, {}, `{"error":"forbidden","message":"x"}`, "closed", "forbidden"],
  [404, {}, "not found", "closed", "refused"],
  [204, {}, null, "closed", "no_connection"],
  [429, { "Retry-After": "2" }, `{"error":"too_fast","message":"x"}`, "waiting", "too_fast"],
  [503, { "Retry-After": "3" }, `{"error":"no_room","message":"x"}`, "waiting", "no_room"],
  [502, {}, "<html>", "waiting", "no_connection"],
  [200, { "Content-Type": "text/html" }, "<html>", "closed", "no_connection"],
]) {
  const change = await new Promise((resolve) => {
    const client = new Millrace("http://fake.test", { transports: ["events"], fetch: async () => new Response(body, { status, headers }), onState: (c) => {
      if (c.state === "connecting" || c.state === "open") return;
      resolve(c);
      client.close();
    } });
    client.subscribe("a", () => {});
  });
  assert.equal(change.state, state, `status ${status}`);
  assert.equal(change.error.word, word, `status ${status}`);
  if (headers["Retry-After"]) assert.ok(change.retryIn >= headers["Retry-After"] * 1000, `status ${status}: ${change.retryIn}`);
}

// An event stream in pieces of any size, with all line ends, comments, unknown fields and several lines of data.
const stream = "\uFEFF:\n\nevent: subscribed\r\ndata: {\"topics\":[{\"topic\":\"a\",\r\ndata: \"recovered\":false,\"sent\":0}]}\r\n\r\n" +
  "id: E-1\rdata: {\"topic\":\"a\",\"position\":\"E-1\",\"time\":\"2026-01-01T00:00:00.000Z\",\"data\":\"Grüße 🌊\"}\r\r" +
  ": comment\nretry: 10\nodd\ndata:{\"topic\":\"a\",\"position\":\"E-2\",\"time\":\"2026-01-01T00:00:00.000Z\",\ndata:\"binary\":\"AP8=\"}\n\n" +
  "event: unheard\ndata: {}\n\nevent: close\ndata: {\"code\":3003,\"reason\":\"forbidden: over\"}\n\ndata: {\"cut";
const bytes = new TextEncoder().encode(stream);
for (const size of [1, 2, 3, 7, 64, bytes.length]) {
  const body = new ReadableStream({ start(c) {
    for (let i = 0; i < bytes.length; i += size) c.enqueue(bytes.slice(i, i + size));
    c.close();
  } });
  const got = [];
  const error = await new Promise((resolve) => {
    const client = new Millrace("http://fake.test", { transports: ["events"], fetch: async () => new Response(body, { headers: { "Content-Type": "text/event-stream" } }),
      onState: ({ state, error }) => state === "closed" && resolve(error) });
    client.subscribe("a", (m) => got.push(typeof m.data === "string" ? m.data : [...m.data]));
  });
  assert.deepEqual(got, ["Grüße 🌊", [0, 255]], `in pieces of ${size}`);
  assert.equal(error.word, "forbidden");
}

// A stream says of each topic with how many of the past it begins, and all that comes is given: also when fewer of the past come than
// were announced, since one with a key has taken the place of others.
{
  const said = (topic, n) => `data: {"topic":"${topic}","position":"E-${n}","time":"2026-01-01T00:00:00.000Z","data":"${n}"}\n\n`;
  const text = `event: subscribed\ndata: {"topics":[{"topic":"a","position":"E-0","recovered":false,"sent":0}]}\n\n` +
    `event: subscribed\ndata: {"topics":[{"topic":"prices","recovered":false,"sent":20}]}\n\n` + [20, 21, 22].map((n) => said("prices", n)).join("");
  const got = [], urls = [];
  let first; // what the first stream has brought
  await new Promise((resolve) => {
    const client = new Millrace("http://fake.test", { transports: ["events"], backOff, fetch: async (url) => {
      urls.push(decodeURIComponent(url.split("?")[1]));
      return new Response(text, { headers: { "Content-Type": "text/event-stream" } });
    }, onState: ({ state }) => {
      if (state !== "waiting") return;
      first ??= [...got];
      if (urls.length < 2) return;
      client.close();
      resolve();
    } });
    client.subscribe("a", () => {}, { last: 20 });
    client.subscribe("prices", (m) => got.push(m.data), { last: 1 });
    client.subscribe("b/#", () => {}, { last: 1 });
    client.subscribe("c", () => {});
  });
  assert.deepEqual(first, ["20", "21", "22"]);
  assert.deepEqual(urls, [
    "envelope=1&topic=a&topic=prices&topic=c&topic=b/#&last=20&last=1&last=0&last=0",
    "envelope=1&topic=a&topic=prices&topic=c&topic=b/#&since=E-0&since=E-22&since=&since=",
  ]);
}

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const until = async (done) => {
  for (let i = 0; i < 2000 && !done(); i++) await sleep(5);
  assert.ok(done(), `${done}`);
};
const refusing = (status, error, topic) => new Response(JSON.stringify({ error, message: "x", topic }), { status });
const endless = (status, type) => new Response(new ReadableStream({ start: (c) => c.enqueue(new TextEncoder().encode("<html>")) }), { status, headers: { "Content-Type": type } });

// streaming is an event stream of what the URL asks for, which stays open; say adds to it.
function streaming(url, signal) {
  const topics = new URL(url).searchParams.getAll("topic"), sinces = new URL(url).searchParams.getAll("since");
  let to;
  const body = new ReadableStream({ start: (c) => { to = c; } });
  const say = (name, data) => to.enqueue(new TextEncoder().encode(`event: ${name}\ndata: ${JSON.stringify(data)}\n\n`));
  signal.addEventListener("abort", () => { try { to.error(new Error("aborted")); } catch { /* it has ended */ } });
  topics.forEach((topic, i) => say("subscribed", { topics: [{ topic, position: "E-1", recovered: !!sinces[i], sent: 0 }] }));
  return { response: new Response(body, { headers: { "Content-Type": "text/event-stream" } }), say, end: () => to.close() };
}

// A WebSocket that can not be opened for a moment is tried again, whatever the event stream in its place is answered.
for (const answer of [() => refusing(426, "bad_request"), () => refusing(400, "bad_request"), () => refusing(403, "forbidden"), () => refusing(404, "refused"), () => new Response("not found", { status: 404 }),
  () => new Response(null, { status: 204 }), () => new Response("<html>", { headers: { "Content-Type": "text/html" } }), () => refusing(400, "too_many"), () => refusing(414, "")]) {
  FakeSocket.made = [];
  FakeSocket.server = (socket) => socket.end(1006);
  const states = [];
  const client = new Millrace("http://fake.test", { WebSocket: FakeSocket, backOff, fetch: async () => {
    FakeSocket.server = serving();
    return answer();
  }, onState: ({ state }) => states.push(state) });
  await client.subscribe("a", () => {}).ready;
  assert.deepEqual(states, ["connecting", "waiting", "connecting", "open"], `${answer}`);
  // And so when it was open before.
  FakeSocket.server = (socket) => socket.end(1006);
  FakeSocket.made.at(-1).end(1006);
  await until(() => states.filter((s) => s === "open").length === 2);
  client.close();
}
// So a server that has no event streams is one that can not be reached, by event streams.
{
  const change = await new Promise((resolve) => {
    const client = new Millrace("http://fake.test", { transports: ["events"], fetch: async () => refusing(426, "bad_request"), onState: (c) => {
      if (c.state === "connecting") return;
      resolve(c);
      client.close();
    } });
    client.subscribe("a", () => {});
  });
  assert.equal(change.state, "waiting");
  assert.match(change.error.message, /no event streams/);
}

// A refusal whose rest never comes is one by its status, in time, and so is an answer to a plain request.
{
  let asked = 0;
  const client = new Millrace("http://fake.test", { transports: ["events"], backOff, patience: 150, fetch: async (url, { signal }) => {
    if (asked++ === 0 || url.includes("/history")) return endless(url.includes("last=2") ? 200 : 502, "text/html");
    return streaming(url, signal).response;
  } });
  await client.subscribe("a", () => {}).ready;
  assert.equal(asked, 2);
  await assert.rejects(client.history("a"), { word: "no_connection", code: 502 });
  await assert.rejects(client.history("a", { last: 2 }), { word: "timeout" });
  client.close();
}
// So is a request that is never answered, whatever its signal says.
{
  let asked = 0;
  const client = new Millrace("http://fake.test", { transports: ["events"], backOff, patience: 150, fetch: async (url, { signal }) => (asked++ ? streaming(url, signal).response : new Promise(() => {})) });
  await client.subscribe("a", () => {}).ready;
  assert.equal(asked, 2);
  client.close();
}

// A token that never comes is asked for again.
{
  let calls = 0;
  FakeSocket.server = serving();
  const states = [];
  const client = new Millrace("http://fake.test", { transports: ["websocket"], WebSocket: FakeSocket, backOff, patience: 150, token: () => (calls++ ? "token" : new Promise(() => {})),
    onState: ({ state, error }) => states.push(state + (error ? ` ${error.word}: ${error.message}` : "")) });
  await client.subscribe("a", () => {}).ready;
  assert.deepEqual(states, ["connecting", "waiting unauthorized: the function for a token failed: Error: no answer in time", "connecting", "open"]);
  client.close();
  const asking = new Millrace("http://fake.test", { transports: ["websocket"], WebSocket: FakeSocket, patience: 150, token: () => new Promise(() => {}) });
  await assert.rejects(asking.history("a"), { word: "unauthorized" });
  asking.close();
}

// Without a subscription there is no stream: the client looks for a WebSocket, without a word of it, and for the server.
{
  let up = true, tries = 0;
  FakeSocket.made = [];
  FakeSocket.server = (socket) => {
    tries++;
    socket.end(1006);
  };
  const states = [];
  const options = { WebSocket: FakeSocket, backOff, silence: 50, patience: 1000, onState: ({ state, transport }) => states.push(`${state} ${transport}`), fetch: async (url) => {
    if (!up) throw new TypeError("no network");
    return url.includes("topic=") ? new Promise(() => {}) : refusing(400, "bad_request");
  } };
  let client = new Millrace("http://fake.test", options);
  await sleep(300);
  await until(() => tries > 3);
  assert.ok(tries < 60, `${tries} tries of a WebSocket`);
  assert.deepEqual(states, ["connecting ", "open events"]);
  FakeSocket.server = serving();
  await until(() => client.transport === "websocket");
  assert.deepEqual(states, ["connecting ", "open events", "open websocket"]);
  client.close();
  FakeSocket.server = (socket) => socket.end(1006);
  client = new Millrace("http://fake.test", { ...options, backOff: { least: 60000, most: 60000 } });
  await until(() => client.state === "open");
  FakeSocket.server = serving();
  client._look(); // the page is seen again
  await until(() => client.transport === "websocket");
  client.close();
  for (const transports of [undefined, ["events"]]) {
    up = true;
    FakeSocket.server = (socket) => socket.end(1006);
    client = new Millrace("http://fake.test", { ...options, transports });
    await until(() => client.state === "open");
    up = false;
    await until(() => client.state !== "open"); // the server has gone
    client.close();
  }
}

// What is no name is refused alone, by both transports, as the server would.
for (const transport of ["websocket", "events"]) {
  FakeSocket.made = [];
  FakeSocket.server = serving();
  const urls = [], told = [];
  const client = new Millrace("http://fake.test", { transports: [transport], WebSocket: FakeSocket, fetch: async (url, { signal }) => {
    urls.push(url);
    return streaming(url, signal).response;
  } });
  for (const topic of ["", "$presence/", "a/#/b", "a+", "#a", "a/b#", "a\0b", "a\ud800"]) {
    const s = client.subscribe(topic, () => {}, { onError: (e) => told.push(e.word) });
    await assert.rejects(s.ready, { word: "bad_name" }, topic);
    assert.equal(client.subscription(topic), undefined);
  }
  assert.deepEqual(told, Array(8).fill("bad_name"));
  for (const topic of ["/", "a//b", "+", "#", "a/+/#", "$presence/a", "💧", "+/a"]) await client.subscribe(topic, () => {}).ready;
  client.close();
}

// One topic that a stream is refused for ends alone. If it may only not be read, it goes on without its past, and so it is asked
// again with another token.
{
  const asked = [], told = [], gaps = [];
  let reads = false, stream, calls = 0;
  const client = new Millrace("http://fake.test", { transports: ["events"], backOff, token: () => `token${calls}`, onGap: ({ topic }) => gaps.push(topic), fetch: async (url, { signal }) => {
    const query = new URL(url).searchParams, topics = query.getAll("topic"), since = (topic) => (query.getAll("since")[topics.indexOf(topic)] || "");
    asked.push(topics.map((topic) => topic + since(topic)).join());
    if (topics.includes("no")) return refusing(403, "forbidden", "no");
    if (topics.includes("long")) return refusing(400, "bad_name", "long");
    if (topics.includes("login")) return refusing(401, "unauthorized", "login");
    if (since("unread") && !reads) return refusing(403, "forbidden", "unread");
    stream = streaming(url, signal);
    if (topics.includes("many")) stream.say("refused", { error: "too_many", message: "x", topic: "many" });
    return stream.response;
  } });
  const subscribe = (topic) => client.subscribe(topic, () => {}, { onError: (e) => told.push(`${topic} ${e.word}`) });
  for (const topic of ["a", "no", "unread", "long"]) subscribe(topic);
  await client.subscription("a").ready;
  assert.deepEqual(asked.splice(0), ["a,no,unread,long", "a,unread,long", "a,unread"]);
  subscribe("login");
  await until(() => told.length === 3);
  assert.deepEqual(told, ["no forbidden", "long bad_name", "login unauthorized"]);
  await until(() => client.state === "open" && asked.length === 4 && client.subscription("unread")._on);
  assert.deepEqual(asked.splice(0), ["aE-1,unreadE-1,login", "aE-1,unreadE-1,login", "aE-1,unreadE-1", "aE-1,unread"]); // with another token, if there is one
  gaps.length = 0;
  subscribe("many");
  await until(() => asked.length === 2 && client.subscription("unread")._on);
  assert.deepEqual(asked.splice(0), ["aE-1,unread,many", "aE-1,unread"]);
  assert.equal(told.pop(), "many too_many");
  assert.ok(!gaps.includes("a"));
  reads = true;
  calls++;
  gaps.length = 0;
  stream.end();
  await until(() => asked.length === 1 && client.subscription("unread")._on);
  assert.deepEqual(asked, ["aE-1,unreadE-1"]);
  assert.deepEqual(gaps, []);
  client.close();
}

// A URL that is too long for the server: what has made it so is refused; if that is not known, the client says why it ends.
for (const status of [414, 431, 400]) { // 400: it has more topics than a connection may have
  const told = [], short = (url) => new URL(url).searchParams.getAll("topic").length <= 2;
  let most = short;
  const client = new Millrace("http://fake.test", { transports: ["events"], backOff, fetch: async (url, { signal }) => most(url) ? streaming(url, signal).response : status === 400 ? refusing(400, "too_many") : new Response("", { status }),
    onState: ({ state, error }) => state === "closed" && told.push(`${error.word} ${error.code}`) });
  const subscribe = (topic) => client.subscribe(topic, () => {}, { onError: (e) => told.push(`${topic} ${e.word} ${e.code}`) });
  await Promise.all([subscribe("a").ready, subscribe("b").ready]);
  await assert.rejects(subscribe("c").ready, { word: "too_many" });
  await until(() => client.subscription("b")._on);
  assert.equal(client.state, "open");
  most = () => false;
  client._connection._reopen();
  await until(() => told.length === 2);
  assert.deepEqual(told, [`c too_many ${status}`, `too_many ${status}`]);
}

// The past of a topic is asked for again on each WebSocket: the right to it may be there again.
{
  FakeSocket.made = [];
  let allowed = false;
  const gaps = [], asked = [];
  FakeSocket.server = (socket) => {
    socket.onsaid = ({ id, ping, subscribe, since }) => {
      if (ping) socket.hear({ id, ok: true });
      if (subscribe) asked.push(since);
      if (since && !allowed) socket.hear({ id, error: "forbidden", message: "x" });
      else if (subscribe) socket.hear({ id, ok: true, topic: subscribe, position: "E-1", recovered: !!since, sent: 0 });
    };
    socket.onopen();
  };
  const client = new Millrace("http://fake.test", { transports: ["websocket"], WebSocket: FakeSocket, backOff, onGap: () => gaps.push(asked.length) });
  client.subscribe("a", () => {});
  for (const [n, allow] of [[1, false], [3, false], [5, true]]) {
    await until(() => asked.length === n && client.state === "open");
    allowed = allow;
    FakeSocket.made.at(-1).end(1006);
  }
  await until(() => asked.length === 6);
  assert.deepEqual(asked, [undefined, "E-1", undefined, "E-1", undefined, "E-1"]);
  assert.deepEqual(gaps, [3, 5]);
  client.close();
}

// What waits for a connection goes out as answers come, first the subscriptions and then the messages, in their order; and what is
// published meanwhile comes behind.
{
  FakeSocket.made = [];
  const owed = [], published = [];
  let most = 0, subscribed = 0;
  FakeSocket.server = (socket) => {
    socket.onsaid = ({ id, ping, subscribe, publish, data }) => {
      if (ping) return socket.hear({ id, ok: true });
      if (publish) {
        assert.equal(subscribed, 120, "a message before what was subscribed to");
        published.push(data);
      } else {
        subscribed++;
      }
      owed.push({ id, ok: true, topic: subscribe, position: "E-1", recovered: false, sent: 0, members: 0 });
      most = Math.max(most, owed.length);
    };
    socket.onopen();
  };
  const all = [];
  const client = new Millrace("http://fake.test", { transports: ["websocket"], WebSocket: FakeSocket, onState: ({ state }) => state === "open" && all.push(client.publish("a", "70")) });
  for (let n = 0; n < 120; n++) client.subscribe(`a/${n}`, () => {});
  client.subscribe("gone", () => {});
  for (let n = 0; n < 70; n++) all.push(client.publish("a", `${n}`));
  await sleep(10);
  assert.equal(owed.length, 50);
  client.subscription("gone").unsubscribe(); // before it was asked for
  while (owed.length > 0) {
    FakeSocket.made[0].hear(owed.shift());
    await sleep(0);
  }
  await Promise.all(all);
  assert.equal(most, 50);
  assert.deepEqual(published, Array.from({ length: 71 }, (_, n) => `${n}`));
  client.close();
}

// Where the server finds it too fast all the same, the client asks more slowly the next time.
{
  FakeSocket.made = [];
  const times = [];
  FakeSocket.server = (socket) => {
    const came = [];
    times.push(came);
    socket.onsaid = ({ id, ping, subscribe }) => {
      came.push(Date.now());
      if (came.length > 20 && came.at(-1) - came.at(-20) < 200) return socket.end(1008, "too many messages a second");
      if (ping) socket.hear({ id, ok: true });
      else socket.hear({ id, ok: true, topic: subscribe, recovered: false, sent: 0 });
    };
    socket.onopen();
  };
  const client = new Millrace("http://fake.test", { transports: ["websocket"], WebSocket: FakeSocket, backOff });
  await Promise.all(Array.from({ length: 40 }, (_, n) => client.subscribe(`a/${n}`, () => {}).ready));
  await sleep(0);
  assert.equal(client.state, "open");
  assert.equal(times.length, 2);
  client.close();
}

// The answer may be behind much else: as long as that comes, the connection is not lost.
{
  FakeSocket.made = [];
  const states = [];
  FakeSocket.server = (socket) => {
    socket.onsaid = ({ id, ping, subscribe, publish }) => {
      if (ping) socket.hear({ id, ok: true });
      let n = 0;
      const come = () => {
        if (n++ < 20) {
          socket.hear({ topic: "other", position: `E-${n}`, time: "2026-01-01T00:00:00.000Z", data: "x" });
          return setTimeout(come, 50);
        }
        socket.hear({ id, ok: true, topic: subscribe, position: "E-1", recovered: false, sent: 0, members: 1 });
      };
      if (subscribe || publish) come();
    };
    socket.onopen();
  };
  const client = new Millrace("http://fake.test", { transports: ["websocket"], WebSocket: FakeSocket, patience: 600, onState: ({ state }) => states.push(state) });
  await Promise.all([client.subscribe("a", () => {}).ready, client.publish("a", "x")]);
  assert.deepEqual(states, ["connecting", "open"]);
  FakeSocket.made[0].onsaid = () => {};
  client.subscribe("b", () => {});
  await until(() => states.length > 2); // nothing comes any more
  assert.deepEqual(states, ["connecting", "open", "waiting"]);
  client.close();
}

// Messages that wait for other POSTs are bounded like those that wait for a connection, are those of the call, and end with the client.
{
  let release;
  const held = new Promise((resolve) => { release = resolve; }), bodies = [];
  const client = new Millrace("http://fake.test", { transports: ["events"], maxWaiting: 3, fetch: async (url, { method, body, signal }) => {
    if (method === "GET") return streaming(url, signal).response;
    await held;
    bodies.push(typeof body === "string" ? body : new TextDecoder().decode(body));
    return new Response(`{"position":"E-1","members":0}`);
  } });
  await client.subscribe("a", () => {}).ready;
  await sleep(0);
  const bytes = new TextEncoder().encode("one"), first = new TextEncoder().encode("nil");
  const all = [client.publish("a", first), client.publish("a", bytes), client.publish("a", "two"), client.publish("a", "three")];
  first.fill(0);
  bytes.fill(0);
  await assert.rejects(client.publish("a", "four"), { word: "no_room" });
  release();
  await Promise.all(all);
  assert.deepEqual(bodies, ["nil", "one", "two", "three"]);
  const large = "x".repeat(3 << 20);
  const fates = [client.publish("a", large + large), client.publish("a", large), client.publish("a", large), client.publish("a", "x")].map((p) => p.then(() => "done", (e) => e.word)); // the first one is under way
  client.close();
  assert.deepEqual(await Promise.all(fates), ["done", "no_connection", "no_room", "no_connection"]);
  assert.equal(client._waitingBytes, 0);
}

// A server that falls silent is asked, and left when it does not answer.
{
  FakeSocket.made = [];
  FakeSocket.server = serving((socket) => { socket.onsaid = () => {}; });
  await new Promise((resolve) => {
    const client = new Millrace("http://fake.test", { transports: ["websocket"], WebSocket: FakeSocket, silence: 30, patience: 30, onState: ({ state, error }) => {
      if (state !== "waiting") return;
      assert.match(error.message, /silent/);
      client.close();
      resolve();
    } });
    client.subscribe("a", () => {});
  });
  assert.ok(FakeSocket.made[0].said.filter((m) => m.ping).length === 2);
}

// A publication is not sent again; those that wait are bounded, and given up in the end.
{
  FakeSocket.made = [];
  FakeSocket.server = serving(undefined, (socket, m) => {
    if (!m.publish) return;
    FakeSocket.server = (next) => next.end(1006); // the others wait for a connection in vain
    socket.end(1006);
  });
  const client = new Millrace("http://fake.test", { transports: ["websocket"], WebSocket: FakeSocket, backOff, patience: 50, maxWaiting: 2 });
  const fates = await Promise.allSettled([client.publish("a", "1"), client.publish("a", "2"), client.publish("a", "3")]);
  assert.deepEqual(fates.map((f) => f.reason.word), ["unknown", "no_connection", "no_room"]);
  assert.equal(fates[0].reason.code, 1006);
  assert.equal(FakeSocket.made.flatMap((s) => s.said).filter((m) => m.publish).length, 1);
  client.close();
}

// What a handler throws stops nothing.
{
  const thrown = [];
  process.on("uncaughtException", (error) => thrown.push(error.message));
  FakeSocket.server = serving((socket) => [1, 2].forEach((n) => socket.hear({ topic: "a", position: `E-${n}`, time: "2026-01-01T00:00:00.000Z", data: `${n}` })));
  const client = new Millrace("http://fake.test", { transports: ["websocket"], WebSocket: FakeSocket });
  await new Promise((resolve) => client.subscribe("a", (m) => {
    if (m.data === "2") resolve();
    throw new Error("of the handler");
  }));
  await new Promise((resolve) => setTimeout(resolve));
  process.removeAllListeners("uncaughtException");
  assert.deepEqual(thrown, ["of the handler", "of the handler"]);
  assert.equal(client.state, "open");
  client.close();
}

// A token that ends as soon as it begins is not asked for in a circle; the same one is not sent twice.
{
  let calls = 0;
  FakeSocket.made = [];
  FakeSocket.server = serving((socket) => socket.hear({ expires_in: 1 }), (socket, { id, token }) => {
    if (!token) return;
    socket.hear({ id, ok: true, expires_in: 1 });
    socket.hear({ expires_in: 1 });
  });
  const client = new Millrace("http://fake.test", { transports: ["websocket"], WebSocket: FakeSocket, token: () => `token${calls++}` });
  await client.subscribe("a", () => {}).ready;
  await new Promise((resolve) => setTimeout(resolve, 300));
  assert.ok(calls >= 2 && calls <= 3, `${calls} tokens`);
  assert.deepEqual(FakeSocket.made[0].protocols, ["millrace.topics.v1", "millrace.token.token0"]);
  client.close();
}
// A function for a token that fails is told as that, not as a network that does: what was refused is surely not done.
{
  const failing = async (token) => {
    FakeSocket.server = serving();
    const options = { transports: ["websocket"], WebSocket: FakeSocket, fetch: async () => new Response("", { status: 401 }), backOff: { least: 1000, most: 1000 } };
    const client = new Millrace("http://fake.test", { ...options, token });
    const fates = await Promise.allSettled([client.history("a"), client.purge("a")]);
    client.close();
    return fates.map(({ reason }) => `${reason.word} ${reason.code}: ${reason.message}`);
  };
  const told = "unauthorized 401: the function for a token failed: Error: no more";
  const fail = () => { throw new Error("no more"); };
  assert.deepEqual(await failing((refused) => refused ? fail() : "old"), [told, told]);
  assert.deepEqual(await failing(fail), [told, told]);
}
console.log("ruled");
process.exit(0);
