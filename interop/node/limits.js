// Meets the limits of the server at the URL in argv[2]: 2 connections, 5 messages at once and 1 a second.
import assert from "node:assert";
import { once } from "node:events";
import process from "node:process";
import WebSocket from "ws";

const url = process.argv[2];

async function connect() {
  const ws = new WebSocket(url);
  await once(ws, "open");
  return ws;
}

async function refused() {
  const open = [await connect(), await connect()];
  const [, answer] = await once(new WebSocket(url), "unexpected-response");
  assert.equal(answer.statusCode, 503);
  assert(Number(answer.headers["retry-after"]) > 0);
  answer.destroy();
  for (const ws of open) {
    ws.close();
    await once(ws, "close");
  }
}

async function flood() {
  const ws = await connect();
  let answered = 0;
  ws.on("message", () => { answered++; ws.send("again"); });
  ws.send("first");
  const [code, reason] = await once(ws, "close");
  assert.equal(code, 1008);
  assert.match(String(reason), /messages/);
  assert(answered >= 5 && answered < 50, `${answered} answered`);
}

for (const run of [refused, flood]) {
  await run();
  console.log("ok", run.name);
}
