// The SDK's client for either transport, otherwise as it comes: region, credentials and endpoint are taken from
// the environment unless they are given.

import { TranscribeStreamingClient } from "@aws-sdk/client-transcribe-streaming";
import { eventStreamPayloadHandler } from "@aws-sdk/middleware-sdk-transcribe-streaming";
import { WebSocketFetchHandler } from "@aws-sdk/middleware-websocket";
import WebSocket from "ws";

// What the SDK chooses by itself in a browser; Node gets HTTP/2 unless told so.
const WEBSOCKET = {
  requestHandler: new WebSocketFetchHandler(),
  eventStreamPayloadHandlerProvider: () => eventStreamPayloadHandler,
};

// As in a browser, a message is an event of its own: the SDK listens for messages a moment after "open", and ws
// would by default hand over one that came together with the upgrade's answer before that.
class StandardWebSocket extends WebSocket {
  constructor(url) {
    super(url, { allowSynchronousEvents: false });
  }
}

export function newClient({ transport, endpoint }) {
  if (transport === "websocket") {
    globalThis.WebSocket = StandardWebSocket; // Node 20 has none of its own
    return new TranscribeStreamingClient({ endpoint, ...WEBSOCKET });
  }
  return new TranscribeStreamingClient({ endpoint });
}
