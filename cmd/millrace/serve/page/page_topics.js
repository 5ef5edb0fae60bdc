// Topics, by millrace.js: subscriptions with their rate and latency, and publishing.
"use strict";

(() => {
  const seconds = 60; // of the charts
  const counts = { published: 0, received: 0 };
  const log = new Log(byId("messages"));
  const rows = new Map(); // of subscriptions, by topic
  const panel = new Panel("topics-", byId("topic"), byId("server"), byId("token"));
  let client = null;
  let told = ""; // why it is not connected: the log has it once, however often it is tried
  let shown = null; // the last message: several subscriptions may get it

  byId("server").value = new URL(".", location.href).href.replace(/\/$/, "");
  byId("no-topics").hidden = hasTopics;

  const note = (kind, way, text, topic) => log.add({ kind, way, text, topic });

  function count(what) {
    counts[what]++;
    byId("topics-count").textContent = counts.published.toLocaleString("en") + " published, " + counts.received.toLocaleString("en") + " received";
  }

  const advice = (error) => error.message + whatToDo(error, {
    unauthorized: (client ? "disconnect, and " : "") + "put a valid key or token into the field above",
    refused: "is that a server with topics? millrace serve --topics has them",
  });

  // # The connection

  function show(state, text, retryIn) {
    panel.show(state, text, retryIn);
    for (const [button, field] of [["subscribe", "topic"], ["publish", "publish-message"]]) {
      if (client) byId(button).disabled = false;
      else disable(byId(button), byId(field));
    }
  }

  function onState({ state, transport, error, retryIn }) {
    if (state === "open") {
      told = "";
      const by = transport === "events" ? "event streams, since no WebSocket could be opened" : "WebSocket";
      note("opened", "• open", `connected to ${client.url} by ${by}`);
      return show("open", "connected" + (transport === "events" ? " by event streams" : ""));
    }
    if (state === "connecting") return show("connecting", "connecting");
    if (state === "closed") client = null;
    const text = error ? advice(error) : "disconnected";
    if (error && text !== told) note("closed", "× close", text);
    told = text;
    if (state === "waiting") return show("waiting", text, retryIn);
    show(error ? "failed" : "closed", text);
  }

  function connect() {
    let server;
    try {
      byId("server").value = server = address(byId("server").value, "http").replace(/\/$/, "");
    } catch (err) {
      return show("failed", err.message);
    }
    // The page may ask its own server alone by plain requests: another one has to be there by WebSocket.
    const own = new URL(server).origin === location.origin;
    client = new Millrace(server, { token: byId("token").value, transports: own ? ["websocket", "events"] : ["websocket"], onState });
    for (const row of rows.values()) row.begin(); // where it was
    show("connecting", "connecting");
  }

  // # Subscriptions

  // Row is a subscription as it is shown.
  class Row {
    constructor(topic, last) {
      this.topic = topic;
      this.last = last;
      this.messages = this.gaps = 0;
      this.position = "";
      this.rate = new Array(seconds).fill(0);
      this.latency = new Array(seconds).fill(null); // milliseconds, of each second the middle one
      this.now = { messages: 0, latencies: [] };
      this.clocks = 0; // by how many milliseconds ours is behind the server's, as far as is seen
      this.draw();
      this.begin();
    }

    begin() {
      if (this.subscription) this.position = this.subscription.position;
      const s = this.subscription = client.subscribe(this.topic, (m) => this.message(m), {
        last: this.last, since: this.position,
        onGap: ({ reason }) => this.gap(reason),
        onError: (error) => this.fail(error),
      });
      s.ready.then(({ recovered, sent }) => {
        note("opened", "+ on", recovered ? `goes on, ${sent} of the past` : `subscribed, ${sent} of the past`, this.topic);
      }, () => {}); // onError tells
    }

    draw() {
      const li = this.element = part("li"), head = part("div", "bar"), stop = part("button", "plain small", "Unsubscribe");
      stop.type = "button";
      stop.setAttribute("aria-label", "Unsubscribe from " + this.topic);
      stop.onclick = () => this.end();
      head.append(part("span", "name", this.topic), stop);
      this.facts = part("div", "facts");
      const charts = part("div", "charts");
      this.rateChart = new Chart("messages a second", (v) => v.toLocaleString("en") + "/s");
      this.latencyChart = new Chart("latency", (v) => v.toLocaleString("en") + " ms");
      charts.append(this.rateChart.element, this.latencyChart.element);
      li.append(head, this.facts, charts);
      byId("topics").append(li);
      this.redraw();
    }

    message(m) {
      this.messages++;
      this.now.messages++;
      const late = Date.now() - m.time;
      if (late < -this.clocks) this.clocks = -late; // nothing arrives before it was sent
      if (late + this.clocks < 60000 && this.now.latencies.length < 10000) this.now.latencies.push(late + this.clocks); // older ones are the past
      if (m === shown) return;
      shown = m;
      count("received");
      log.message("received", "← in", m.data, m.topic);
    }

    gap(reason) {
      this.gaps++;
      const why = { history: "the history does not reach back to where it was", slow: "this page reads too slowly", broker: "the broker missed something" }[reason];
      note("error", "! gap", "messages may be missing here: " + why, this.topic);
    }

    // tick is called each second.
    tick() {
      const { messages, latencies } = this.now;
      this.now = { messages: 0, latencies: [] };
      this.rate.push(messages);
      this.latency.push(latencies.length ? latencies.sort((a, b) => a - b)[latencies.length >> 1] : null);
      this.rate.shift();
      this.latency.shift();
      this.redraw();
    }

    redraw() {
      const at = this.subscription?.position;
      this.facts.textContent = plural(this.messages, "message") + (this.gaps ? ", " + plural(this.gaps, "gap") : "") + (at ? ", at " + at : "") +
        (this.clocks > 5 ? `, clocks differ by ${this.clocks} ms or more` : "");
      this.rateChart.draw(this.rate);
      this.latencyChart.draw(this.latency);
    }

    fail(error) {
      note("error", "× error", advice(error), this.topic);
      byId("subscribed").textContent = advice(error);
      if (this.element.contains(document.activeElement)) byId("topic").focus();
      this.remove();
    }

    end() {
      this.subscription?.unsubscribe();
      note("closed", "− off", "unsubscribed", this.topic);
      byId("subscribed").textContent = "";
      this.remove();
      byId("topic").focus();
    }

    remove() {
      rows.delete(this.topic);
      this.element.remove();
    }
  }

  // Chart is a line of the last minute.
  class Chart {
    constructor(name, format) {
      this.name = name;
      this.format = format;
      this.element = part("figure");
      const caption = part("figcaption");
      this.value = part("span");
      this.most = part("span");
      caption.append(this.value, this.most);
      this.svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
      this.svg.setAttribute("class", "chart");
      this.svg.setAttribute("viewBox", `0 0 ${seconds - 1} 100`);
      this.svg.setAttribute("preserveAspectRatio", "none");
      this.svg.setAttribute("role", "img");
      this.path = document.createElementNS("http://www.w3.org/2000/svg", "path");
      this.svg.append(this.path);
      this.element.append(caption, this.svg);
    }

    // draw takes a value for each second; null is none, and leaves a hole.
    draw(values) {
      const most = Math.max(...values.map((v) => v ?? 0)), last = values.findLast((v) => v !== null) ?? null;
      const y = (v) => 100 - 92 * v / (most || 1);
      let d = "";
      for (let i = 0; i < values.length; i++) {
        if (values[i] === null) continue;
        const begins = i === 0 || values[i - 1] === null, ends = i === values.length - 1 || values[i + 1] === null;
        if (begins) d += `M${begins && ends ? i - .5 : i} 100`;
        d += begins && ends ? `L${i - .5} ${y(values[i])}L${i + .5} ${y(values[i])}` : `L${i} ${y(values[i])}`;
        if (ends) d += `L${begins ? i + .5 : i} 100Z`;
      }
      this.path.setAttribute("d", d);
      this.value.textContent = this.name + (last === null ? "" : ": " + this.format(last));
      this.most.textContent = most > 0 ? "most " + this.format(most) : "";
      this.svg.setAttribute("aria-label", `${this.name} in the last minute${last === null ? ": none" : `: now ${this.format(last)}, most ${this.format(most)}`}`);
    }
  }

  setInterval(() => rows.forEach((row) => row.tick()), 1000);

  function subscribe() {
    const topic = byId("topic").value;
    if (!client) return;
    byId("subscribed").textContent = rows.has(topic) ? "subscribed to it already" : "";
    if (rows.has(topic)) return;
    rows.set(topic, new Row(topic, Number(byId("last").value)));
    byId("topic").select();
  }

  // # Publishing

  async function publish() {
    if (!client) return;
    const field = byId("publish-message"), told = byId("published"), topic = byId("publish-topic").value;
    const tell = (text, bad) => {
      told.textContent = text;
      told.classList.toggle("bad", !!bad);
    };
    try {
      const data = byId("publish-kind").value === "hex" ? parseHex(field.value) : field.value;
      field.removeAttribute("aria-invalid");
      field.select();
      const began = performance.now();
      const { members } = await client.publish(topic, data);
      count("published");
      tell(`published to ${plural(members, "subscriber")} in ${(performance.now() - began).toFixed(1)} ms`);
    } catch (error) {
      if (!error.word) field.setAttribute("aria-invalid", "true"); // no hex
      tell(advice(error), true);
      note("error", "× error", advice(error), topic);
    }
  }

  onSubmit("topics-connection", () => { client ? client.connect() : connect(); });
  onSubmit("subscribing", subscribe);
  onSubmit("publishing", publish);
  messageField(byId("publish-message"));
  byId("topics-disconnect").onclick = () => client?.close();
  byId("topics-clear").onclick = () => log.clear();
  if (hasTopics) connect();
})();
