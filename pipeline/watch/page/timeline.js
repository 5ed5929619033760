// A session on a canvas: what was said when, how sure it is, and where it is now. The last half minute while it
// goes on, all of it when it is over.

const WINDOW_SECONDS = 30;
const FRESH_SECONDS = 20; // with older words the clock says nothing of where the audio is
const STEPS_SECONDS = [5, 15, 60, 300, 900, 3600]; // between ticks; every second one has a label
const BAR_TOP = 8, BAR_HEIGHT = 20, LABELS_TOP = 33;
export const SHADES = [[0.9, "c4"], [0.75, "c3"], [0.5, "c2"], [-1, "c1"]];

let colours = null;
const scheme = matchMedia("(prefers-color-scheme: dark)");
scheme.addEventListener("change", () => { colours = null; });

function palette() {
  if (colours === null) {
    const style = getComputedStyle(document.documentElement);
    const names = ["c1", "c2", "c3", "c4", "partial", "line", "soft", "accent", "ink"];
    colours = Object.fromEntries(names.map((name) => [name, style.getPropertyValue(`--${name}`).trim()]));
  }
  return colours;
}

export function shade(confidence) {
  return confidence === null ? "c4" : SHADES.find(([least]) => confidence >= least)[1];
}

export function clock(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  const parts = [Math.floor(whole / 60) % 60, whole % 60].map((part) => String(part).padStart(2, "0"));
  const hours = Math.floor(whole / 3600);
  return hours ? `${hours}:${parts.join(":")}` : `${Number(parts[0])}:${parts[1]}`;
}

// Where the session's audio is now, in seconds; null when nothing says so.
export function audioNow(session, nowMs) {
  if (session.zero === null || !["live", "idle"].includes(session.state)) return null;
  const now = (nowMs - session.zero) / 1000;
  return now >= session.until - 1 && now - session.until <= FRESH_SECONDS ? now : null;
}

export function draw(canvas, session, words, nowMs) {
  const scale = devicePixelRatio || 1;
  const width = canvas.clientWidth, height = canvas.clientHeight;
  if (!width) return;
  if (canvas.width !== Math.round(width * scale)) {
    canvas.width = Math.round(width * scale);
    canvas.height = Math.round(height * scale);
  }
  const pen = canvas.getContext("2d");
  pen.setTransform(scale, 0, 0, scale, 0, 0);
  pen.clearRect(0, 0, width, height);
  const now = audioNow(session, nowMs);
  const end = Math.max(WINDOW_SECONDS, now ?? 0, session.until);
  const start = ["ended", "rejected"].includes(session.state) ? 0 : end - WINDOW_SECONDS;
  const x = (seconds) => ((seconds - start) / (end - start)) * (width - 2) + 1;
  const ink = palette();

  pen.fillStyle = ink.line;
  pen.globalAlpha = 0.35;
  pen.fillRect(0, BAR_TOP, width, BAR_HEIGHT);
  pen.globalAlpha = 1;
  ticks(pen, x, start, end, ink);
  for (const [from, to] of session.gaps) hatch(pen, x(from), Math.max(x(to), x(from) + 3), ink.soft);
  const lanes = [...new Set(words.map((word) => word.channel))].sort();
  const tall = BAR_HEIGHT / Math.max(1, lanes.length);
  for (const word of words) {
    if (word.end < start) continue;
    const top = BAR_TOP + tall * lanes.indexOf(word.channel);
    pen.fillStyle = word.partial ? ink.partial : ink[shade(word.confidence)];
    pen.globalAlpha = word.partial ? 0.45 : 1;
    const left = Math.max(0, x(word.start));
    pen.fillRect(left, top + 1, Math.max(1.5, x(word.end) - left - 0.75), tall - 2);
  }
  pen.globalAlpha = 1;
  newest(pen, x(session.until), ink.accent);
  if (now !== null) {
    pen.fillStyle = ink.accent;
    pen.fillRect(Math.min(width - 2, x(now) - 1), BAR_TOP - 5, 2, BAR_HEIGHT + 8);
  }
}

function ticks(pen, x, start, end, ink) {
  pen.fillStyle = ink.soft;
  pen.font = "10.5px system-ui, sans-serif";
  pen.textBaseline = "top";
  const step = STEPS_SECONDS.find((seconds) => (end - start) / seconds <= 12) ?? 14400;
  for (let second = Math.ceil(start / step) * step; second <= end; second += step) {
    const labelled = second % (2 * step) === 0;
    pen.fillRect(x(second), BAR_TOP + BAR_HEIGHT, 1, labelled ? 5 : 3);
    if (labelled && x(end) - x(second) > 30) pen.fillText(clock(second), x(second) + 3, LABELS_TOP);
  }
}

function hatch(pen, from, to, colour) {
  pen.save();
  pen.beginPath();
  pen.rect(from, BAR_TOP, to - from, BAR_HEIGHT);
  pen.clip();
  pen.strokeStyle = colour;
  pen.beginPath();
  for (let left = from - BAR_HEIGHT; left < to; left += 5) {
    pen.moveTo(left, BAR_TOP + BAR_HEIGHT);
    pen.lineTo(left + BAR_HEIGHT, BAR_TOP);
  }
  pen.stroke();
  pen.restore();
}

// Where the newest words end.
function newest(pen, at, colour) {
  pen.fillStyle = colour;
  pen.beginPath();
  pen.moveTo(at - 4, BAR_TOP - 7);
  pen.lineTo(at + 4, BAR_TOP - 7);
  pen.lineTo(at, BAR_TOP - 1);
  pen.fill();
}
