// Opens connections to the server at the URL in argv[2] and prints how each ends.
import { once } from "node:events";
import process from "node:process";
import WebSocket from "ws";

const clients = Array.from({ length: 50 }, () => new WebSocket(process.argv[2] + "/echo"));
const ends = clients.map(async (ws) => {
  let clean = "clean";
  ws.on("error", () => { clean = "broken"; });
  const [code, reason] = await once(ws, "close");
  return `${code} ${reason} ${clean}`;
});
for (const end of ends) console.log(await end);
