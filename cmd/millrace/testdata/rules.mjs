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
  FakeSocket.server = serving(undefined, (socket, m) => m.publish && socket.end(1006));
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
