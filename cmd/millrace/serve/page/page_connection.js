// What both halves of the page share about a connection: its address, how it is, its buttons, and what to do about errors.
"use strict";

// address completes what was typed: host:port gets a scheme, "ws" or "http", and /path this server. It throws what is wrong.
function address(text, scheme) {
  const secure = location.protocol === "https:" ? "s" : "";
  let full = text.trim();
  if (!/^[a-z][a-z0-9+.-]*:\/\//i.test(full)) full = scheme + secure + "://" + (full.startsWith("/") ? location.host : "") + full;
  const url = URL.canParse(full) ? new URL(full) : null;
  if (!url || !/^(https?|wss?):$/.test(url.protocol)) throw new Error(`"${text}" is no address: write it as ${scheme}${secure}://host:port/path`);
  if (full.includes("#")) throw new Error("an address can not have a #: write it as %23");
  url.protocol = url.protocol.replace(/^(http|ws)/, scheme);
  return url.href;
}

// unreachable says why a WebSocket could not be opened. Browsers do not tell, but this page may ask its own server.
async function unreachable(url) {
  const to = new URL(url), failed = `could not connect to ${url}: `;
  const plain = to.href.replace(/^ws/, "http");
  if (new URL(plain).origin === location.origin) {
    try {
      const { status } = await fetch(plain, { cache: "no-store", signal: AbortSignal.timeout(3000) });
      if (status === 404) return failed + `the server answers 404, there is nothing at ${to.pathname}`;
      if (status >= 500) return failed + `the server answers ${status}`;
    } catch (err) {
      return failed + (err.name === "TimeoutError" ? "there is no answer" : "nothing listens there");
    }
  }
  return failed + "nothing listens there, or the server refused: wrong path, origin" +
    (to.protocol === "wss:" ? ", or this browser does not trust its certificate" : "");
}

// whatToDo is advice about a Millrace.Error, to stand behind its message. more is advice of one half of the page, by the error's word.
function whatToDo(error, more) {
  const shorter = "send a shorter one, or let the server take longer ones with --max-message";
  const advice = {
    forbidden: "bring a token with the right to it",
    too_big: shorter,
    too_fast: "wait a moment",
    unknown: error.code === 1009 ? shorter : "look whether it is there before you publish it again",
    ...more,
  }[error.word];
  return advice ? ": " + advice : "";
}

// disable takes a button out of use. If it has the focus, another element gets that, or the keyboard would be at no place.
function disable(button, instead) {
  const had = document.activeElement === button;
  button.disabled = true;
  if (had) instead.focus();
}

// Panel shows how a connection is, and has its buttons: Connect, which is Try now while the connection waits for its next try, and
// Disconnect, which is Stop then.
class Panel {
  // prefix is that of the elements' ids. next is where the user goes on when he is connected. fields make the connection.
  constructor(prefix, next, ...fields) {
    this.told = byId(prefix + "state");
    this.until = this.told.nextElementSibling;
    this.connect = byId(prefix + "connect");
    this.disconnect = byId(prefix + "disconnect");
    this.next = next;
    this.fields = fields;
    this.state = "closed";
    this.awaited = false; // the user has asked for the connection
    this.connect.form.addEventListener("submit", () => { this.awaited = true; });
  }

  // show takes a state: closed, connecting, open, waiting, closing or failed. retryIn is in milliseconds.
  show(state, text, retryIn = 0) {
    const off = state === "closed" || state === "failed", on = state === "open" || state === "closing", waits = state === "waiting";
    this.trying = waits || state === "connecting" && this.trying;
    this.state = this.told.parentElement.dataset.state = state;
    this.connect.textContent = this.trying ? "Try now" : "Connect";
    this.disconnect.textContent = this.trying ? "Stop" : "Disconnect";
    if (!on) this.connect.disabled = false; // also while it is tried, so that the keyboard stays there
    if (!off) this.disconnect.disabled = false;
    if (state === "open") this.lead();
    if (on) disable(this.connect, this.next);
    if (off) disable(this.disconnect, this.connect);
    if (on || off) this.awaited = false;
    for (const field of this.fields) field.readOnly = !off;
    this.tell(waits ? text + ". Tries again" : text);
    this.count(waits ? Date.now() + retryIn : 0);
  }

  // lead brings who has asked for the connection to where he goes on, and nobody else, nor who is elsewhere by now.
  lead() {
    const at = document.activeElement;
    if (this.awaited && (at === document.body || this.connect.form.contains(at))) this.next.focus();
  }

  // tell changes what a screen reader reads out.
  tell(text) { if (this.told.textContent !== text) this.told.textContent = text; }

  // count shows the seconds until a time; 0 is none. A screen reader does not read them out: it would have no time for anything else.
  count(at) {
    clearInterval(this.timer);
    const draw = () => { this.until.textContent = at ? ` in ${Math.max(1, Math.ceil((at - Date.now()) / 1000))} s` : ""; };
    draw();
    if (at) this.timer = setInterval(draw, 200);
  }
}
