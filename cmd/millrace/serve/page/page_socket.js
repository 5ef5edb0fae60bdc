// One WebSocket, to any address: what is sent and what comes.
"use strict";

(() => {
  const counts = { sent: 0, received: 0 };
  const log = new Log(byId("log"));
  let socket = null, openedAt = 0;

  const base = new URL("echo", location.href);
  base.protocol = base.protocol.replace("http", "ws");
  byId("url").value = base.href;

  const note = (kind, way, text) => log.add({ kind, way, text });

  function message(kind, way, data) {
    counts[kind]++;
    byId("count").textContent = counts.sent + " sent, " + counts.received + " received";
    log.message(kind, way, data);
  }

  function show(state, text) {
    showState(byId("state"), state, text);
    byId("connect").disabled = byId("url").readOnly = socket !== null;
    byId("disconnect").disabled = socket === null;
    byId("send").disabled = state !== "open";
  }

  function connect() {
    const url = byId("url").value;
    try {
      socket = new WebSocket(url);
    } catch (err) {
      note("error", "× error", err.message);
      return show("failed", "failed: " + err.message);
    }
    openedAt = 0;
    socket.binaryType = "arraybuffer";
    socket.onopen = () => {
      openedAt = performance.now();
      note("opened", "• open", "connected to " + socket.url);
      show("open", "connected");
      byId("message").focus();
    };
    socket.onmessage = ({ data }) => message("received", "← in", typeof data === "string" ? data : new Uint8Array(data));
    socket.onclose = (event) => {
      socket = null;
      if (!openedAt && !event.wasClean) {
        const text = `could not connect to ${url}: nothing listens there, or the server refused: wrong path, origin`;
        note("error", "× error", text);
        return show("failed", "failed: " + text);
      }
      const lasted = " after " + ((performance.now() - openedAt) / 1000).toFixed(1) + " s";
      note("closed", "× close", "code " + event.code + " " + (event.reason || meaning(event.code)) + lasted);
      show("closed", "disconnected");
    };
    show("connecting", "connecting");
  }

  function meaning(code) {
    return { 1000: "normal", 1001: "going away", 1002: "protocol error", 1003: "unsupported", 1005: "no code given",
      1006: "broken off without a close frame", 1007: "not UTF-8", 1008: "policy", 1009: "message too big", 1011: "server error" }[code] || "";
  }

  function send() {
    if (socket?.readyState !== WebSocket.OPEN) return;
    const field = byId("message");
    let data = field.value;
    try {
      if (byId("kind").value === "hex") data = parseHex(data);
    } catch (err) {
      field.setAttribute("aria-invalid", "true");
      return note("error", "× error", err.message);
    }
    field.removeAttribute("aria-invalid");
    socket.send(data);
    message("sent", "→ out", data);
    field.select();
  }

  byId("connection").onsubmit = (event) => {
    event.preventDefault();
    if (!socket) connect();
  };
  byId("disconnect").onclick = () => socket?.close(1000, "closed by the page");
  byId("sending").onsubmit = (event) => {
    event.preventDefault();
    send();
  };
  messageField(byId("message"), send);
  byId("clear").onclick = () => log.clear();
})();
