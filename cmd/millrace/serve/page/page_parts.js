// What both halves of the page are made of: elements, the log, hex, the tabs.
"use strict";

const byId = (id) => document.getElementById(id);

// part makes an element.
function part(tag, name, text) {
  const e = document.createElement(tag);
  if (name) e.className = name;
  if (text !== undefined) e.textContent = text;
  return e;
}

const plural = (n, one) => n.toLocaleString("en") + " " + one + (n === 1 ? "" : "s");

// hex shows bytes as "00 ff".
const hex = (bytes) => Array.from(bytes, (b) => b.toString(16).padStart(2, "0")).join(" ");

// parseHex reads what hex writes, with or without spaces and 0x.
function parseHex(text) {
  const digits = text.replace(/0x|[\s,:]/gi, "");
  if (!/^([0-9a-f]{2})*$/i.test(digits)) throw new Error("hex is pairs of the digits 0 to 9 and a to f, as in 48 65 6c 6c 6f");
  return Uint8Array.from(digits.match(/../g) || [], (d) => parseInt(d, 16));
}

// Log shows the last lines of what happened. Many at once are drawn together.
class Log {
  constructor(list) {
    this.list = list;
    this.waiting = [];
    this.left = 0; // not shown
  }

  // add takes {kind, way, text, size, topic}. Without a size the text is ours, and not a message.
  add(line) {
    line.at = new Date();
    this.waiting.push(line);
    if (this.waiting.length > Log.most) {
      this.waiting.shift();
      this.left++;
    }
    if (this.waiting.length === 1) setTimeout(() => this.draw(), 30);
  }

  // message adds a message, which is a text or bytes.
  message(kind, way, data, topic) {
    const isText = typeof data === "string";
    this.add({ kind, way, text: isText ? data : hex(data), size: isText ? new TextEncoder().encode(data).length : data.length, topic });
  }

  draw() {
    const { list } = this;
    const atEnd = list.scrollTop + list.clientHeight >= list.scrollHeight - 8;
    list.querySelector(".empty")?.remove();
    // A screen reader is told of each line, unless they are too many to be read.
    list.setAttribute("aria-live", this.waiting.length > 3 ? "off" : "polite");
    const lines = this.waiting.splice(0).map((line) => this.line(line));
    if (this.left > 0) lines.unshift(this.line({ at: new Date(), kind: "error", way: "… left", text: plural(this.left, "line") + " came too fast to be shown" }));
    this.left = 0;
    list.append(...lines);
    while (list.children.length > Log.most) list.firstChild.remove();
    if (atEnd) list.scrollTop = list.scrollHeight;
  }

  line({ at, kind, way, text, size, topic }) {
    const line = part("li", kind);
    line.append(part("time", "", at.toTimeString().slice(0, 8) + "." + String(at.getMilliseconds()).padStart(3, "0")), part("span", "way", way));
    const content = part("span", "text");
    if (topic) content.append(part("span", "on", topic));
    const bytes = size === undefined ? "" : part("span", "size", " (" + plural(size, "byte") + ")");
    if (text.length > Log.short || text.split("\n", 7).length > 6) content.append(this.collapsed(text, bytes));
    else content.append(text, bytes);
    line.append(content);
    return line;
  }

  // collapsed shows the beginning, and the whole when asked; a very long text never.
  collapsed(text, bytes) {
    const details = part("details"), summary = part("summary");
    const begin = text.slice(0, 120).split("\n", 3).join("\n");
    summary.append(part("span", "short", begin + "… "), part("span", "size", "all " + plural(text.length, "character")), bytes);
    details.append(summary);
    details.ontoggle = () => {
      if (details.children.length > 1) return;
      details.append(part("span", "whole", text.length > Log.long ? text.slice(0, Log.long) + "… (the rest is not shown)" : text));
    };
    return details;
  }

  // clear takes away what is shown, and what was to be.
  clear() {
    this.waiting = [];
    this.left = 0;
    this.list.replaceChildren();
  }
}
Log.most = 1000; // lines
Log.short = 500; // characters that are shown at once
Log.long = 200000; // characters that are shown at all

// onSubmit has f called when a form is submitted with what it asks for.
function onSubmit(id, f) {
  byId(id).onsubmit = (event) => {
    event.preventDefault();
    f();
  };
}

// messageField submits the form when Enter is pressed in a textarea, and has the text that stands there first be selected
// when somebody goes there.
function messageField(field) {
  field.addEventListener("focus", () => field.select(), { once: true });
  field.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    field.form.requestSubmit();
  });
}

// # Tabs, as the ARIA Authoring Practices have them: arrows go from one to the other.

const tabs = [...document.querySelectorAll("[role=tab]")];

function choose(tab) {
  for (const t of tabs) {
    t.setAttribute("aria-selected", t === tab);
    t.tabIndex = t === tab ? 0 : -1;
    byId(t.getAttribute("aria-controls")).hidden = t !== tab;
  }
}

tabs.forEach((tab, i) => {
  tab.onclick = () => choose(tab);
  tab.onkeydown = (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!step) return;
    const next = tabs[(i + step + tabs.length) % tabs.length];
    choose(next);
    next.focus();
  };
});
const hasTopics = document.body.dataset.topics === "on";
choose(byId(hasTopics ? "tab-topics" : "tab-socket"));
