// One WebSocket, to any address: what is sent and what comes. When it is lost, it is opened again.
"use strict";

(() => {
  const patience = 10000; // milliseconds for a connection to open
  const farewell = 2000; // milliseconds for a server to answer a close
  const counts = { sent: 0, received: 0 };
  const log = new Log(byId("log"));
  const panel = new Panel("", byId("message"), byId("url"));
  const backOff = new Millrace.BackOff();
  let url = "";
  let socket = null; // the one that counts
  let timer = null; // of the next try, or of what the socket has to do in time
  let openedAt = 0; // 0: it is not open
  let everOpen = false; // since the user connected: from then on it is tried again
  let told = false; // the log has why it can not be opened again

  const base = new URL("echo", location.href);
  base.protocol = base.protocol.replace("http", "ws");
  byId("url").value = base.href;

  const note = (kind, way, text) => log.add({ kind, way, text });

  function message(kind, way, data) {
    counts[kind]++;
    byId("count").textContent = counts.sent.toLocaleString("en") + " sent, " + counts.received.toLocaleString("en") + " received";
    log.message(kind, way, data);
  }

  function show(state, text, retryIn) {
    if (state === "open") byId("send").disabled = false;
    else disable(byId("send"), byId("message"));
    panel.show(state, text, retryIn);
  }

  function fail(text) {
    note("error", "× error", text);
    show("failed", "failed: " + text);
  }

  // # The connection

  function connect() {
    try {
      byId("url").value = url = address(byId("url").value, "ws");
    } catch (err) {
      return fail(err.message);
    }
    backOff.reset();
    everOpen = false;
    open();
  }

  function open() {
    clearTimeout(timer);
    try {
      socket = new WebSocket(url);
    } catch (err) {
      return fail(err.message); // a page over https: may not open ws:
    }
    socket.binaryType = "arraybuffer";
    socket.onopen = opened;
    socket.onmessage = ({ data }) => message("received", "← in", typeof data === "string" ? data : new Uint8Array(data));
    socket.onclose = ended;
    timer = setTimeout(abandon, patience);
    show("connecting", "connecting");
  }

  function opened() {
    clearTimeout(timer);
    backOff.opened();
    openedAt = performance.now();
    everOpen = true;
    told = false;
    note("opened", "• open", "connected to " + socket.url);
    show("open", "connected");
  }

  async function ended({ code, reason }) {
    clearTimeout(timer);
    const { error, retryIn } = backOff.closed({ code, reason });
    const wasOpen = openedAt > 0, one = socket;
    let text = `code ${code} ${reason || meaning(code)}`;
    if (wasOpen) note("closed", "× close", text + lasted());
    openedAt = 0;
    if (panel.state === "closing") return stop();
    text = wasOpen ? text + whatToDo(error, ofAddress) : await unreachable(url);
    if (socket !== one) return; // the user was faster
    socket = null;
    if (!everOpen) return fail(text);
    if (!wasOpen && !told) {
      told = true;
      note("error", "× error", text);
    }
    if (retryIn === Infinity) return show("failed", "refused: " + text);
    if (wasOpen && code === 1000) return show("closed", "ended by the server: " + text);
    timer = setTimeout(open, retryIn);
    show("waiting", "lost: " + text, retryIn);
  }

  const ofAddress = { unauthorized: "put a valid key or token into the address, as ?token=", history_gone: "take since out of the address" };
  const lasted = () => " after " + ((performance.now() - openedAt) / 1000).toFixed(1) + " s";

  function meaning(code) {
    return { 1000: "normal", 1001: "going away", 1002: "protocol error", 1003: "unsupported", 1005: "no code given",
      1006: "broken off without a close frame", 1007: "not UTF-8", 1008: "policy", 1009: "message too big", 1011: "server error",
      1012: "service restart", 1013: "try again later" }[code] || "";
  }

  function disconnect() {
    if (!openedAt) return stop();
    if (panel.state === "closing") return abandon();
    timer = setTimeout(abandon, farewell);
    show("closing", "disconnecting");
    socket.close(1000, "closed by the page");
  }

  // abandon goes on without a socket that does not answer.
  function abandon() {
    release();
    ended({ code: 1006, reason: "no answer" });
  }

  function release() {
    if (!socket) return;
    socket.onopen = socket.onmessage = socket.onclose = null;
    socket.close();
  }

  function stop() {
    clearTimeout(timer);
    release();
    socket = null;
    show("closed", "disconnected");
  }

  // # What the user does

  function send() {
    if (!openedAt) return;
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

  onSubmit("connection", () => {
    if (panel.state === "waiting") open();
    else if (!socket) connect();
  });
  onSubmit("sending", send);
  messageField(byId("message"));
  byId("disconnect").onclick = disconnect;
  byId("clear").onclick = () => log.clear();
  // The network is back, or the page is seen again: why wait?
  const wake = () => { if (panel.state === "waiting" && !document.hidden) open(); };
  window.addEventListener("online", wake);
  document.addEventListener("visibilitychange", wake);
})();
