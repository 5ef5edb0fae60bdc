// Runs the cases against the server at the URL in argv[2] with npm's ws.
import assert from "node:assert/strict";
import { once } from "node:events";
import process from "node:process";
import WebSocket from "ws";

const maxMessage = 1 << 20;
const sizes = [0, 1, 125, 126, 127, 65535, 65536, maxMessage];
const url = process.argv[2];

async function open(protocols = [], options = {}) {
  const ws = new WebSocket(url + "/echo", protocols, options);
  await once(ws, "open");
  return ws;
}

async function receive(ws) {
  const [data, isBinary] = await once(ws, "message");
  return isBinary ? data : data.toString();
}

async function closed(ws) {
  const [code, reason] = await once(ws, "close");
  return { code, reason: reason.toString() };
}

async function close(ws) {
  const end = closed(ws);
  ws.close(1000);
  assert.equal((await end).code, 1000);
}

const cases = {
  async echo() {
    const ws = await open();
    for (const size of sizes) {
      for (const message of ["ß".repeat(size >> 1) + "s".repeat(size & 1), Buffer.alloc(size, 0xff)]) {
        ws.send(message);
        assert.deepEqual(await receive(ws), message);
      }
    }
    await close(ws);
  },

  async fragments() {
    const ws = await open();
    ws.send("in ", { fin: false });
    ws.send("", { fin: false });
    ws.send("three frames", { fin: true });
    assert.equal(await receive(ws), "in three frames");
    await close(ws);
  },

  async pings() {
    const ws = await open();
    ws.ping("echo this");
    const [payload] = await once(ws, "pong");
    assert.equal(payload.toString(), "echo this");
    ws.send("ping:are you there?");
    assert.equal(await receive(ws), "pong:are you there?");
    await close(ws);
  },

  async clientCloses() {
    for (const code of [1000, 1001, 3000, 4999]) {
      const ws = await open();
      const end = closed(ws);
      ws.close(code, "bye from Node");
      assert.equal((await end).code, code);
    }
  },

  async serverCloses() {
    for (const code of [1000, 1001, 1008, 1011, 1012, 1013, 3000, 4999]) {
      const ws = await open();
      ws.send(`close:${code}:enough`);
      assert.deepEqual(await closed(ws), { code, reason: "enough" });
    }
  },

  async tooBig() {
    const ws = await open();
    ws.send(Buffer.alloc(maxMessage + 1));
    assert.equal((await closed(ws)).code, 1009);
  },

  async subprotocols() {
    for (const [offers, want] of [
      [["chat.v1"], "chat.v1"], [["chat.v1", "chat.v2"], "chat.v1"], [["other", "chat.v2"], "chat.v2"],
    ]) {
      const ws = await open(offers);
      assert.equal(ws.protocol, want);
      await close(ws);
    }
    await assert.rejects(open(["other"]), /Server sent no subprotocol/); // as ws wants it
  },

  async origins() {
    await close(await open([], { origin: url.replace("ws", "http") }));
    for (const origin of ["http://elsewhere.example", "null"]) {
      await assert.rejects(open([], { origin }), /Unexpected server response: 403/);
    }
  },

  async concurrentClients() {
    await Promise.all(Array.from({ length: 50 }, async (_, name) => {
      const ws = await open();
      for (let i = 0; i < 20; i++) {
        ws.send(`client ${name} message ${i}`);
        assert.equal(await receive(ws), `client ${name} message ${i}`);
      }
      await close(ws);
    }));
  },
};

for (const [name, run] of Object.entries(cases)) {
  await run();
  console.log("ok", name);
}
