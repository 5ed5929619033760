// Server-sent events over fetch: EventSource cannot send the token in a header, and an address may be logged.

const RETRY_MS = [250, 500, 1000, 2000, 4000, 8000];
const SILENCE_MS = 25000; // the server says something every ten seconds

export class Refused extends Error {}

// Calls onEvent(data) for each event and onState("live" | "lost" | "refused", message) when the connection changes;
// connects again for ever, and tells the server what it had last. Ends only when the token is refused.
export async function follow(path, token, onEvent, onState) {
  let lastId = "";
  let failures = 0;
  for (;;) {
    try {
      await read(path, token, lastId, (event) => {
        failures = 0;
        lastId = event.id || lastId;
        onState("live");
        onEvent(JSON.parse(event.data));
      });
      onState("lost", "The server has ended the connection");
    } catch (error) {
      if (error instanceof Refused) {
        onState("refused", error.message);
        return;
      }
      onState("lost", "Connection lost");
    }
    await new Promise((done) => setTimeout(done, RETRY_MS[Math.min(failures, RETRY_MS.length - 1)]));
    failures += 1;
  }
}

async function read(path, token, lastId, onEvent) {
  const abort = new AbortController();
  let watchdog = setTimeout(() => abort.abort(), SILENCE_MS);
  const headers = { Accept: "text/event-stream", Authorization: `Bearer ${token}` };
  if (lastId) headers["Last-Event-ID"] = lastId;
  try {
    const answer = await fetch(path, { headers, cache: "no-store", signal: abort.signal });
    if (answer.status === 401) throw new Refused("Token refused: open the address that medstream printed");
    if (!answer.ok) throw new Error(`status ${answer.status}`);
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    const parse = parser(onEvent);
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      clearTimeout(watchdog);
      watchdog = setTimeout(() => abort.abort(), SILENCE_MS);
      parse(value);
    }
  } finally {
    clearTimeout(watchdog);
  }
}

// What the server writes: lines ended by \n, one `data` line an event.
function parser(onEvent) {
  let rest = [];
  let event = {};
  return (text) => {
    const lines = text.split("\n");
    if (lines.length === 1) {
      rest.push(text);
      return;
    }
    lines[0] = rest.join("") + lines[0];
    rest = [lines.pop()];
    for (const line of lines) {
      if (line === "") {
        if (event.data !== undefined) onEvent(event);
        event = {};
      } else if (!line.startsWith(":")) {
        const colon = line.indexOf(":");
        event[line.slice(0, colon)] = line.slice(colon + 1).replace(/^ /, "");
      }
    }
  };
}
