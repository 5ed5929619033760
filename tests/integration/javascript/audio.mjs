// Audio as the SDK wants it: an async iterable of AudioEvents.

// `ending` says what comes after the last chunk:
//   "returns"  nothing; the SDK ends the stream in its own way
//   "lingers"  an empty AudioEvent, then the iterable stays open until the results have ended. Over WebSocket
//              this is how an application gets the last finals: the SDK closes as soon as the iterable ends.
//   "stays"    nothing, and the stream stays open
export async function* audioEvents(pcm, { chunkBytes, ending, resultsEnded }) {
  for (let start = 0; start < pcm.length; start += chunkBytes) {
    yield { AudioEvent: { AudioChunk: pcm.subarray(start, start + chunkBytes) } };
  }
  if (ending === "lingers") {
    yield { AudioEvent: { AudioChunk: new Uint8Array(0) } };
  }
  if (ending !== "returns") {
    await resultsEnded;
  }
}
