// Followers of topic "a" through a proxy that cuts, and publishers to topic "b": see TestTopicsJavaScript.
// Arguments: the URL of the followers' proxy, how many messages there will be; the URL of the publishers', and how many to publish.
import "../../../client/millrace.js";

const [url, end, publishURL, publications] = [process.argv[2], Number(process.argv[3]), process.argv[4], Number(process.argv[5])];
const backOff = { least: 5, most: 50 };

function fail(text) {
  console.log(JSON.stringify({ error: text }));
  process.exit(1);
}

// begun resolves when all followers have seen the first message; then the restarts may come.
let following = 0;
function begun() {
  if (++following === all.length) console.log("following");
}

// follow resolves when the last message is there.
function follow(transport) {
  return new Promise((resolve) => {
    const seen = { transport, last: 0, told: 0, slow: 0, connections: 0 };
    let gap = false;
    const client = new Millrace(url, {
      transports: transport === "either" ? undefined : [transport], backOff,
      onState: ({ state, error }) => {
        if (state === "open") seen.connections++;
        if (state === "closed" && error) fail(`${transport}: ${error.word}: ${error.message}`);
      },
    });
    client.subscribe("a", (m) => {
      const n = parseInt(m.data, 10);
      if (n <= seen.last || n !== seen.last + 1 && !gap) fail(`${transport}: message ${n} behind ${seen.last}, told of a gap: ${gap}`);
      if (seen.last === 0) begun();
      seen.last = n;
      gap = false;
      if (n === end) {
        client.close();
        resolve(seen);
      }
    }, {
      last: 10000,
      onGap: ({ reason }) => {
        if (reason === "slow") seen.slow++;
        else if (!gap) seen.told++; // or it was cut again before it could go on
        gap = true;
      },
    });
  });
}

// publish tells what became of each message.
async function publish(transport) {
  const client = new Millrace(publishURL, { transports: [transport], backOff, patience: 20000 });
  const done = [], unknown = [];
  for (let i = 0; i < publications; i++) {
    const text = `${transport} ${i}`;
    await client.publish("b", text).then(() => done.push(text), (error) => {
      if (error.word !== "unknown") fail(`${text}: ${error.word}: ${error.message}`);
      unknown.push(text);
    });
  }
  client.close();
  return { transport, done, unknown };
}

const transports = globalThis.WebSocket ? ["websocket", "events"] : ["events"];
const all = [...transports, "either"].flatMap((t) => [t, t, t]);
const [followers, publishers] = await Promise.all([Promise.all(all.map(follow)), Promise.all(transports.map(publish))]);
console.log(JSON.stringify({ followers, publishers }));
process.exit(0);
