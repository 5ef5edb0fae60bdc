// What millrace.js does beside following: see TestTopicsJavaScriptTalk. Arguments: the URL of a server with JWTs, its secret,
// the URL of something that is no server of topics, and that of a server of topics which takes 50 messages a second.
import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import { connect, createServer } from "node:net";
import "../../../client/millrace.js";

const [url, secret, other, limited] = process.argv.slice(2);
const transports = ["websocket", "events"];
const backOff = { least: 5, most: 50 };

function jwt(claims, seconds = 3600, signed = secret) {
  const part = (v) => Buffer.from(JSON.stringify(v)).toString("base64url");
  const text = part({ alg: "HS256" }) + "." + part({ sub: "ann", exp: Math.floor(Date.now() / 1000) + seconds, millrace: claims });
  return text + "." + createHmac("sha256", signed).update(text).digest("base64url");
}
const all = { subscribe: ["#"], publish: ["#"], presence: ["#"], history: ["#"], purge: ["#"] };

// queue gives messages one after the other.
function queue() {
  const items = [], takers = [];
  return {
    put: (m) => (takers.length ? takers.shift()(m) : items.push(m)),
    take: () => new Promise((resolve) => (items.length ? resolve(items.shift()) : takers.push(resolve))),
  };
}

// sleepy is a proxy whose connections fall silent, without an end, when sleep is called.
async function sleepy(to) {
  const asleep = new Set(), awake = new Set();
  const server = createServer((client) => {
    const onward = connect(to.port, to.hostname);
    awake.add(client);
    const pass = (from, dest) => from.on("data", (d) => { if (!asleep.has(client)) dest.write(d); }).on("error", () => {});
    pass(client, onward);
    pass(onward, client);
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  return { url: `http://127.0.0.1:${server.address().port}`, sleep: () => awake.forEach((c) => asleep.add(c)) };
}

// closed resolves when the client has ended.
function closed(target, options) {
  return new Promise((resolve) => {
    const client = new Millrace(target, { backOff, ...options, onState: ({ state, error }) => state === "closed" && resolve(error) });
    if (options.topic) client.subscribe(options.topic, () => {});
  });
}
const rejected = async (promise) => promise.then(() => assert.fail("no error"), (error) => error);

for (const transport of transports) {
  const only = { transports: [transport], backOff };
  console.error("by", transport);

  // Texts, bytes and presence; before it is open, too.
  const client = new Millrace(url.replace("http", "ws"), { ...only, token: jwt(all) });
  const got = queue(), topic = `rooms/${transport}`;
  const s = client.subscribe(topic, got.put, { info: { name: "ann" } });
  const begun = await s.ready;
  assert.deepEqual(begun, { recovered: false, sent: 0 });
  assert.equal(client.transport, transport);
  assert.equal((await client.publish(topic, "Grüße <b>\n\u2028")).members, 1);
  await client.publish(topic, new Uint8Array([0, 255, 10, 13]), { kept: false, key: "k", expires: 5 });
  let m = await got.take();
  assert.equal(m.data, "Grüße <b>\n\u2028");
  assert.ok(m.kept && m.topic === topic && Math.abs(Date.now() - m.time) < 60000);
  m = await got.take();
  assert.deepEqual([...m.data], [0, 255, 10, 13]);
  assert.ok(!m.kept);
  const there = await client.presence(topic);
  assert.equal(there.count, 1);
  assert.deepEqual(there.members[0].info, { name: "ann" });
  const history = await client.history(topic, { last: 5 });
  assert.deepEqual(history.messages.map((x) => x.data), ["Grüße <b>\n\u2028"]);
  assert.equal((await client.stats(topic)).messages, 1);
  assert.throws(() => client.subscribe(topic, got.put), { word: "bad_request" });
  assert.equal((await rejected(client.publish("a/+", "x"))).word, "wildcard");

  // A second topic comes and goes; last is for each topic alone.
  for (const n of [1, 2, 3]) await client.publish(`${topic}/past`, `past ${n}`);
  const past = queue(), all3 = queue();
  const p = client.subscribe(`${topic}/past`, past.put, { last: 1 });
  await p.ready;
  assert.equal((await past.take()).data, "past 3");
  const f = client.subscribe(`${topic}/#`, all3.put);
  await f.ready;
  await client.publish(`${topic}/past`, "both");
  assert.equal((await past.take()).data, "both");
  assert.equal((await all3.take()).data, "both");
  f.unsubscribe();
  await client.publish(`${topic}/past`, "one");
  assert.equal((await past.take()).data, "one");
  assert.equal(p.position.split("-").length, 2);
  client.close();
  assert.equal((await rejected(client.publish(topic, "late"))).word, "no_connection");

  // Another client goes on where it was.
  const resumed = new Millrace(url, { ...only, token: jwt(all) });
  const rest = queue();
  const how = await resumed.subscribe(`${topic}/past`, rest.put, { since: history.messages[0].position }).ready;
  assert.ok(how.sent > 0);
  resumed.close();

  // A refused token: another one is asked for, once at once. One that does not change is not tried again.
  const asked = [];
  const renewing = new Millrace(url, { ...only, token: async (refused) => {
    asked.push(refused);
    return refused ? jwt(all) : jwt(all, 3600, "another secret of thirty-two bytes!!");
  } });
  await renewing.subscribe(topic, () => {}).ready;
  assert.deepEqual(asked.slice(0, 2), [false, true]);
  renewing.close();
  const wrong = jwt(all, -100);
  assert.equal((await closed(url, { ...only, topic, token: wrong })).word, "unauthorized");
  assert.equal((await closed(url, { ...only, topic, token: () => wrong })).word, "unauthorized");

  // A token that ends: a new one is brought before, and nothing is missed.
  let calls = 0;
  const short = new Millrace(url, { ...only, token: () => jwt(all, calls++ === 0 ? 2 : 3600) });
  const during = queue(), gaps = [];
  await short.subscribe(`${topic}/short`, during.put, { onGap: (g) => gaps.push(g) }).ready;
  const publisher = new Millrace(url, { ...only, token: jwt(all) });
  for (let n = 0; n < 30; n++) {
    await publisher.publish(`${topic}/short`, String(n));
    await new Promise((resolve) => setTimeout(resolve, 100)); // the token ends in the midst of them
  }
  for (let n = 0; n < 30; n++) assert.equal((await during.take()).data, String(n));
  assert.deepEqual(gaps, []);
  assert.ok(calls >= 2, "no new token was asked for");
  short.close();
  publisher.close();

  // A connection that falls silent is left, and nothing is missed.
  const proxy = await sleepy(new URL(url));
  const sleeper = new Millrace(proxy.url, { ...only, token: jwt(all), silence: 150, patience: 300 });
  const woken = queue(), missed = [];
  await sleeper.subscribe(`${topic}/asleep`, woken.put, { onGap: (g) => missed.push(g) }).ready;
  const awake = new Millrace(url, { ...only, token: jwt(all) });
  for (let n = 0; n < 20; n++) {
    if (n % 5 === 2) proxy.sleep();
    await awake.publish(`${topic}/asleep`, String(n));
    if (n % 5 === 4) assert.equal((await woken.take()).data, String(n - 4));
    if (n % 5 === 4) for (let i = n - 3; i <= n; i++) assert.equal((await woken.take()).data, String(i));
  }
  assert.deepEqual(missed, []);
  sleeper.close();
  awake.close();

  // No right: told, and not repeated.
  const poor = new Millrace(url, { ...only, token: jwt({ subscribe: ["open/#"] }) });
  await poor.subscribe("open/a", () => {}).ready;
  assert.equal((await rejected(poor.publish("open/a", "x"))).word, "forbidden");
  for (const [name, word] of [["#", "forbidden"], ["open/#/a", "bad_name"], ["open/" + "a".repeat(300), "bad_name"]]) {
    const told = [];
    assert.equal((await rejected(poor.subscribe(name, () => {}, { onError: (e) => told.push(e.word) }).ready)).word, word);
    assert.deepEqual(told, [word]);
  }
  await poor.subscribe("open/b", () => {}).ready; // the others go on
  poor.close();
  assert.equal((await rejected(new Millrace(url, { ...only, token: jwt({}) }).purge("open/a"))).word, "forbidden");

  // Somewhere else.
  const options = { ...only, topic: "a" };
  if (transport === "events") assert.equal((await closed(other, options)).word, "refused");
}

// Too many topics for the URL of an event stream: those that are too many are told, and the others stay. A WebSocket takes them all.
for (const transport of transports) {
  const many = new Millrace(url, { transports: [transport], token: jwt(all) });
  for (let n = 0; n < 200; n++) many.subscribe(`many/${n}`, () => {});
  await Promise.all(Array.from({ length: 200 }, (_, n) => many.subscription(`many/${n}`).ready));
  const more = await Promise.allSettled(Array.from({ length: 700 }, (_, n) => many.subscribe(`more/${n}`, () => {}).ready));
  const words = new Set(more.map((m) => m.reason?.word));
  assert.deepEqual([...words], [transport === "events" ? "too_many" : undefined]);
  await many.subscribe("another", () => {}).ready;
  assert.equal(many.state, "open");
  many.close();
}

// A server that bounds the messages of a second has all subscriptions in the end, and keeps the connection.
const states = [];
const slow = new Millrace(limited, { transports: ["websocket"], backOff, onState: ({ state, error }) => states.push(error ? error.message : state) });
await Promise.all(Array.from({ length: 120 }, (_, n) => slow.subscribe(`many/${n}`, () => {}).ready));
assert.equal(slow.state, "open");
assert.deepEqual(states, ["connecting", "open", "too many messages a second", "connecting", "open"]);
slow.close();

// One that comes and goes too often is refused where presence tells of it, and is subscribed when the time is over.
const restless = new Millrace(url, { transports: ["websocket"], token: jwt(all) });
const refused = [];
await restless.subscribe("calm", () => {}).ready;
for (let n = 0; n < 150; n++) {
  const s = restless.subscribe("rooms/restless", () => {}, { onError: (e) => refused.push(e) });
  if (n < 100) await s.ready;
  s.unsubscribe();
}
await restless.subscribe("rooms/restless", () => {}, { onError: (e) => refused.push(e) }).ready;
assert.equal((await restless.presence("rooms/restless")).count, 1);
assert.deepEqual(refused, []);
restless.close();

// Where no WebSocket can be opened, an event stream is.
class NoWebSocket {
  constructor() { queueMicrotask(() => this.onclose({ code: 1006, reason: "" })); }
  close() {}
}
const fallen = new Millrace(url, { WebSocket: NoWebSocket, token: jwt(all), backOff });
const got = queue();
await fallen.subscribe("fallen", got.put).ready;
assert.equal(fallen.transport, "events");
await fallen.publish("fallen", "still here");
assert.equal((await got.take()).data, "still here");
fallen.close();
console.log("talked");
process.exit(0);
