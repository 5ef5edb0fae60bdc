// Compression with npm's ws against the server at the URL in argv[2]. argv[3] is
// "parameters": every combination of what permessage-deflate can offer; or "replay":
// the messages of the Autobahn testsuite's cases 12.* and 13.*, of which each case
// sends as many as fit into argv[4] bytes, 1,000 at most.
import assert from "node:assert/strict";
import { once } from "node:events";
import process from "node:process";
import WebSocket from "ws";

const [, , url, mode, budget] = process.argv;

const clientBits = [undefined, true, 9, 12, 15]; // zlib does not compress with 8
const serverBits = [undefined, 8, 9, 12, 15];

// [payload length, size of a fragment's part of it] as in Autobahn's table.
const sizes = [
  ...[16, 64, 256, 1024, 4096, 8192, 16384, 32768, 65536, 131072].map((n) => [n, 0]),
  ...[8192, 16384, 32768, 65536, 131072].map((n) => [n, 256]),
  ...[1024, 4096, 32768].map((n) => [131072, n]),
];

// What the client offers in cases 13.1 to 13.6; of the three offers of 13.7 this
// client can make one at a time.
const offers = [
  {},
  { serverNoContextTakeover: true },
  { serverMaxWindowBits: 8 },
  { serverMaxWindowBits: 15 },
  { serverNoContextTakeover: true, serverMaxWindowBits: 8 },
  { serverNoContextTakeover: true, serverMaxWindowBits: 15 },
];

async function open(perMessageDeflate) {
  const ws = new WebSocket(url + "/echo", { perMessageDeflate: { threshold: 0, ...perMessageDeflate } });
  await once(ws, "open");
  assert.match(ws.extensions, /^permessage-deflate/);
  return ws;
}

async function close(ws) {
  const end = once(ws, "close");
  ws.close(1000);
  assert.equal((await end)[0], 1000);
}

async function echo(ws, message, fragment) {
  const answer = once(ws, "message");
  if (fragment) {
    for (let at = 0; at < message.length; at += fragment) {
      ws.send(message.slice(at, at + fragment), { fin: at + fragment >= message.length });
    }
  } else {
    ws.send(message);
  }
  const [data, isBinary] = await answer;
  assert.equal(isBinary, typeof message !== "string");
  assert.ok(Buffer.from(message).equals(data), `${message.length} bytes, ${data.length} came back`);
}

// random is a small generator with a seed (mulberry32).
function random(seed) {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

function text(size, seed) {
  const r = random(seed);
  let all = "";
  while (all.length < size) {
    all += `{"id": ${Math.floor(r() * 1e6)}, "name": "M${Math.floor(r() * 100)}", "tags": ["a", "${r().toFixed(3)}"]},\n`;
  }
  return all.slice(0, size);
}

async function parameters() {
  for (const serverNoContextTakeover of [undefined, true]) {
    for (const clientNoContextTakeover of [undefined, true]) { // false would forbid it to the server
      for (const serverMaxWindowBits of serverBits) {
        for (const clientMaxWindowBits of clientBits) {
          const offer = { serverNoContextTakeover, clientNoContextTakeover, serverMaxWindowBits, clientMaxWindowBits };
          const ws = await open(offer);
          for (const [seed, size] of [0, 5, 200, 3000, 50000, 3000].entries()) {
            await echo(ws, text(size, seed % 4), 0);
          }
          await echo(ws, text(700, 9), 100);
          await close(ws);
          console.log("ok", JSON.stringify(offer));
        }
      }
    }
  }
}

// testData is five contents like Autobahn's own: text as binary, a picture, a PDF,
// JSON, HTML.
function testData() {
  const r = random(12);
  const words = "Habe nun ach Philosophie Juristerei und Medizin leider auch Theologie durchaus studiert mit heißem Bemühn".split(" ");
  const prose = Array.from({ length: 35000 }, () => words[Math.floor(r() * words.length)]).join(" ");
  const picture = Buffer.from(Array.from({ length: 263222 }, (_, i) => 128 + 60 * ((Math.floor(i / 512) % 97) / 97) + r() * 20));
  const pdf = Buffer.from(Array.from({ length: 212000 }, (_, i) => (i % 930 < 30 ? 32 + (i % 930) : r() * 256)));
  const html = Array.from({ length: 4000 }, (_, i) => `<tr class="row${i % 2}"><td><a href="/item/${i}">item ${i}</a></td></tr>\n`).join("");
  return [Buffer.from(prose), picture, pdf, text(194056, 13), html];
}

async function runCase(ws, data, size, fragment) {
  const twice = typeof data === "string" ? data + data : Buffer.concat([data, data]);
  let at = 0;
  const count = Math.min(1000, Math.max(4, Math.floor(budget / size)));
  for (let i = 0; i < count; i++) {
    await echo(ws, twice.slice(at, at + size), fragment);
    at = (at + size) % data.length;
  }
  await close(ws);
}

async function replay() {
  const data = testData();
  for (const [kind, content] of data.entries()) {
    for (const [number, [size, fragment]] of sizes.entries()) {
      await runCase(await open({}), content, size, fragment);
      console.log(`ok 12.${kind + 1}.${number + 1}`);
    }
  }
  for (const [kind, offer] of offers.entries()) {
    for (const [number, [size, fragment]] of sizes.entries()) {
      await runCase(await open(offer), data[3], size, fragment);
      console.log(`ok 13.${kind + 1}.${number + 1}`);
    }
  }
}

await (mode === "replay" ? replay() : parameters());
