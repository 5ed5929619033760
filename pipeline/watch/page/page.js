// A card for each session. Events change the model at once; cards follow in animation frames, those that changed
// only, and for a few milliseconds a frame, so that a hundred busy sessions do not hold up the page.

import { follow } from "./stream.js";
import { audioNow, clock, draw, shade } from "./timeline.js";

const FRAME_MS = 8;
const BATCH = 8;
const LINE_PIXELS = 24;
const WORDS_PER_CARD = 120;
const TIMELINE_MS = 500;
const GROUPS = { live: 0, draining: 1, idle: 2, ended: 3, rejected: 3 };

const byId = (name) => document.getElementById(name);
const list = byId("sessions");
const cards = new Map();
const unbuilt = new Set();
const dirty = new Set();
const page = { shown: false, textSent: false, unsure: 0.5, skewMs: 0, median: null, frame: 0, sorted: true, made: 0 };

// A card out of sight waits until it is scrolled or stepped to.
const seen = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) {
    const card = cards.get(target.dataset.id);
    if (card) card.visible = isIntersecting;
    if (card?.waits && isIntersecting) later(card);
  }
}, { rootMargin: "300px" });

function element(name, className, text) {
  const made = document.createElement(name);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

function counted(number, one, more) {
  return `${number} ${number === 1 ? one : more}`;
}

function serverNow() {
  return Date.now() + page.skewMs;
}

class Card {
  constructor(id) {
    this.id = id;
    this.session = null;
    this.segments = new Map();
    this.lines = new Map();
    this.stale = new Set();
    this.followed = false;
    this.visible = false;
    this.waits = true;
    this.root = null;
  }

  build() {
    const { id } = this;
    this.root = byId("card").content.firstElementChild.cloneNode(true);
    this.root.dataset.id = id;
    for (const name of ["h2", "state", "follow", "timeline", "said", "finals", "partials", "facts"]) {
      this[name] = this.root.querySelector(name === "h2" ? "h2" : `.${name}`);
    }
    this.h2.textContent = id;
    this.h2.title = id;
    this.h2.id = `session-${page.made++}`;
    this.root.setAttribute("aria-labelledby", this.h2.id);
    this.finals.setAttribute("aria-label", `Finals of ${id}`);
    this.follow.setAttribute("aria-label", `Follow ${id}`);
    this.follow.addEventListener("click", () => this.setFollowed(!this.followed));
    this.root.hidden = !matches(this);
    seen.observe(this.root);
  }

  // What the server says of the session: all facts, and the segments that are new.
  take(news) {
    if (this.session && this.session.life !== news.life) this.forgetSegments();
    if (this.session?.state !== news.state) page.sorted = false;
    this.session = news;
    for (const segment of news.segments) {
      this.segments.set(segment.index, segment);
      this.stale.add(segment.index);
    }
    this.trim(news.first);
  }

  trim(first) {
    let words = 0;
    for (const index of [...this.segments.keys()].sort((a, b) => b - a)) {
      const full = words >= WORDS_PER_CARD;
      words += this.segments.get(index).words;
      if (full || first === null || index < first) {
        this.segments.delete(index);
        this.stale.add(index);
      }
    }
  }

  forgetSegments() {
    for (const index of this.segments.keys()) this.stale.add(index);
    this.segments.clear();
  }

  setFollowed(followed) {
    this.followed = followed;
    this.root.classList.toggle("followed", followed);
    this.follow.setAttribute("aria-pressed", String(followed));
    this.finals.setAttribute("aria-live", followed ? "polite" : "off");
    page.sorted = false;
    later(this);
  }

  get group() {
    return this.followed ? -1 : GROUPS[this.session.state];
  }

  // In three steps, each for many cards at once: read, write, read. Otherwise each card costs a layout.
  measure() {
    this.atEnd = this.said.scrollHeight - this.said.scrollTop - this.said.clientHeight < 40;
  }

  render() {
    const { session } = this;
    if (this.state.textContent !== session.state) {
      this.state.textContent = session.state;
      this.state.className = `state ${session.state}`;
    }
    this.renderFinals();
    this.partials.replaceChildren(...session.partials.map(partialLine));
    this.facts.replaceChildren(...facts(session));
  }

  settle() {
    if (this.atEnd) this.said.scrollTop = this.said.scrollHeight;
    this.renderClock();
  }

  // What changes by itself: where the audio is now.
  renderClock() {
    const now = serverNow();
    this.facts.firstChild.textContent = `at ${clock(audioNow(this.session, now) ?? this.session.until)}`;
    draw(this.timeline, this.session, this.bars(), now);
  }

  renderFinals() {
    for (const index of [...this.stale].sort((a, b) => a - b)) {
      const before = this.lines.get(index);
      const segment = this.segments.get(index);
      if (segment === undefined) {
        before?.remove();
        this.lines.delete(index);
        continue;
      }
      const line = finalLine(segment);
      if (before) before.replaceWith(line);
      else this.finals.insertBefore(line, this.lineAfter(index));
      this.lines.set(index, line);
    }
    this.stale.clear();
  }

  lineAfter(index) {
    const after = [...this.lines.keys()].filter((other) => other > index);
    return after.length ? this.lines.get(Math.min(...after)) : null;
  }

  bars() {
    const bars = [];
    for (const segment of this.segments.values()) {
      const { channel } = segment;
      if (!page.shown || !segment.items) {
        bars.push({ start: segment.start, end: segment.end, confidence: segment.confidence, channel });
        continue;
      }
      for (const [, isWord, start, end, confidence] of segment.items) {
        if (isWord) bars.push({ start, end, confidence, channel });
      }
    }
    for (const { start, end, channel } of this.session.partials) bars.push({ start, end, channel, partial: true });
    return bars;
  }
}

function voiceLabel(channel, speaker) {
  const parts = [channel, speaker === null ? null : `speaker ${speaker}`].filter((part) => part !== null);
  return parts.join(", ");
}

function lineStart(start) {
  const line = element("p");
  line.append(element("time", "", clock(start)));
  return line;
}

function finalLine(segment) {
  const line = lineStart(segment.start);
  if (!page.shown || !segment.items) {
    const voices = (segment.speakers.length ? segment.speakers : [null]).map((who) => voiceLabel(segment.channel, who));
    if (voices.some(Boolean)) line.append(element("b", "voice", voices.join("; ")));
    const low = segment.low ? `, ${segment.low} unsure` : "";
    line.append(element("span", "counts", counted(segment.words, "word", "words") + low));
    return line;
  }
  appendWords(line, segment);
  return line;
}

// Words of one shade are one piece of text; an unsure word is a piece of its own, which says how sure it is.
function appendWords(line, segment) {
  let voice = null;
  let run = null;
  for (const [text, isWord, start, , confidence, speaker] of segment.items) {
    if (!isWord) {
      if (run && !run.title) run.textContent += text;
      else line.append(text);
      continue;
    }
    let space = voice === null ? "" : " ";
    const said = voiceLabel(segment.channel, speaker);
    if (said !== voice) {
      if (said) line.append(space, element("b", "voice", said));
      if (said) space = "";
      voice = said;
      run = null;
    }
    const unsure = confidence !== null && confidence < page.unsure;
    const kind = confidence === null ? "c4" : shade(confidence);
    const className = unsure ? `${kind} unsure` : kind;
    if (run && run.className === className && !unsure) {
      run.textContent += space + text;
      continue;
    }
    run = element("span", className, text);
    if (unsure) run.title = `${Math.round(confidence * 100)} % sure, at ${clock(start)}`;
    line.append(space, run);
  }
}

function partialLine(partial) {
  const line = lineStart(partial.start);
  const voice = voiceLabel(partial.channel, null);
  if (voice) line.append(element("b", "voice", voice));
  const hidden = !page.shown || partial.text === undefined;
  line.append(hidden ? `${counted(partial.words, "word", "words")} being heard` : partial.text);
  return line;
}

function facts(session) {
  const said = ["", counted(session.finals, "final", "finals"), counted(session.words, "word", "words")];
  if (session.low) said.push(`${session.low} unsure`);
  const found = said.map((text) => element("span", "", text));
  if (session.latency) found.push(behind(session.latency));
  const seconds = session.gaps.reduce((sum, [from, to]) => sum + to - from, 0);
  if (session.gaps.length) {
    const gaps = element("span", "warn", `${counted(session.gaps.length, "gap", "gaps")}, ${seconds.toFixed(1)} s`);
    gaps.title = session.gaps.map(([from, to, why]) => `${clock(from)} to ${clock(to)}: ${why}`).join("\n");
    found.push(gaps);
  }
  if (session.missing) found.push(element("span", "warn", `${counted(session.missing, "final", "finals")} not seen`));
  if (session.reason) found.push(element("span", session.state === "rejected" ? "warn" : "", session.reason));
  return found;
}

function behind({ published, spoken }) {
  const figure = element("span", "behind");
  if (spoken === null) {
    figure.textContent = `+${published.toFixed(1)} s`;
    figure.title = "from the final's publication to its arrival at this server";
  } else {
    figure.textContent = `${spoken.toFixed(1)} s behind`;
    figure.title = "from the last word of the latest final, as captured, to its arrival at this server";
  }
  return figure;
}

// Frames

function later(card) {
  if (!card.root) unbuilt.add(card);
  else if (card.visible || card.followed) dirty.add(card);
  else card.waits = true;
  schedule();
}

function schedule() {
  if (!page.frame && (unbuilt.size || dirty.size || !page.sorted)) page.frame = requestAnimationFrame(flush);
}

function flush() {
  page.frame = 0;
  const until = performance.now() + FRAME_MS;
  while (unbuilt.size && performance.now() < until) {
    for (const card of taken(unbuilt)) card.build();
    page.sorted = false;
  }
  if (!page.sorted) sort();
  while (dirty.size && performance.now() < until) {
    const batch = taken(dirty);
    for (const card of batch) card.measure();
    for (const card of batch) {
      card.waits = false;
      card.render();
    }
    for (const card of batch) card.settle();
  }
  schedule();
}

function taken(cardSet) {
  const batch = [...cardSet].slice(0, BATCH);
  for (const card of batch) cardSet.delete(card);
  return batch;
}

// What is followed or alive stands first; within a group cards keep their place, the newest session in front.
function sort() {
  page.sorted = true;
  const wanted = [...cards.values()].filter((card) => card.root).sort((a, b) => a.group - b.group || b.session.number - a.session.number);
  const focused = document.activeElement;
  wanted.forEach((card, place) => {
    if (list.children[place] !== card.root) list.insertBefore(card.root, list.children[place] ?? null);
    card.root.setAttribute("aria-posinset", place + 1);
    card.root.setAttribute("aria-setsize", wanted.length);
  });
  if (focused !== document.activeElement && focused?.isConnected) focused.focus({ preventScroll: true });
}

function totals() {
  const states = [...cards.values()].map((card) => card.session.state);
  const live = states.filter((state) => state === "live").length;
  const median = page.median === null ? "" : `, finals ${page.median.toFixed(1)} s behind (median)`;
  byId("totals").textContent = `${counted(states.length, "session", "sessions")}, ${live} live${median}`;
  byId("empty").hidden = states.length > 0;
}

function drop(card) {
  if (card.root) {
    seen.unobserve(card.root);
    card.root.remove();
  }
  unbuilt.delete(card);
  dirty.delete(card);
  cards.delete(card.id);
}

// What comes from the server, and from who watches

function take(news) {
  page.skewMs = news.now - Date.now();
  page.median = news.median;
  page.unsure = news.unsure;
  setTextSent(news.text);
  if (news.full) {
    const there = new Set(news.sessions.map((session) => session.id));
    for (const card of [...cards.values()]) {
      if (!there.has(card.id)) drop(card);
      else card.forgetSegments();
    }
  }
  for (const id of news.gone) if (cards.has(id)) drop(cards.get(id));
  for (const session of news.sessions) {
    let card = cards.get(session.id);
    if (!card) {
      card = new Card(session.id);
      cards.set(session.id, card);
    }
    card.take(session);
    later(card);
  }
  totals();
}

function setTextSent(sent) {
  const button = byId("text");
  if (button.dataset.sent === String(sent)) return;
  button.dataset.sent = String(sent);
  page.textSent = sent;
  if (!sent) showText(false);
  button.disabled = !sent;
  button.title = sent ? "" : "The server sends no words: start medstream watch with --show-text";
}

function showText(shown) {
  page.shown = shown;
  byId("text").setAttribute("aria-pressed", String(shown));
  byId("text").textContent = shown ? "Hide text" : "Show text";
  for (const card of cards.values()) {
    for (const index of card.segments.keys()) card.stale.add(index);
    later(card);
  }
}

byId("text").addEventListener("click", () => showText(!page.shown && page.textSent));

function matches(card) {
  return card.id.toLowerCase().includes(byId("find").value.trim().toLowerCase());
}

byId("find").addEventListener("input", () => {
  for (const card of cards.values()) if (card.root) card.root.hidden = !matches(card);
});

// The keys of a feed (WAI-ARIA Authoring Practices); arrows scroll what was said.
list.addEventListener("keydown", (event) => {
  const here = event.target.closest?.(".card");
  const lines = { ArrowDown: 2, ArrowUp: -2 }[event.key];
  if (lines && event.target === here) {
    event.preventDefault();
    cards.get(here.dataset.id).said.scrollBy(0, lines * LINE_PIXELS);
    return;
  }
  const step = { PageDown: 1, PageUp: -1 }[event.key];
  if (!step || !here) return;
  const all = [...list.children].filter((card) => !card.hidden);
  const next = all[all.indexOf(here) + step];
  if (!next) return;
  event.preventDefault();
  next.focus();
});

setInterval(() => {
  for (const card of cards.values()) {
    if (card.visible && !card.waits && ["live", "idle"].includes(card.session.state)) card.renderClock();
  }
}, TIMELINE_MS);

function token() {
  const given = location.hash.slice(1);
  try {
    if (given) sessionStorage.setItem("token", given);
    return given || sessionStorage.getItem("token") || "";
  } catch {
    return given; // storage is forbidden: then a reload needs the whole address
  } finally {
    history.replaceState(null, "", location.pathname);
  }
}

follow("events", token(), take, (state, message) => {
  const shown = byId("connection");
  const text = message ?? "Live";
  if (shown.textContent !== text) shown.textContent = text;
  shown.classList.toggle("lost", state !== "live");
});
