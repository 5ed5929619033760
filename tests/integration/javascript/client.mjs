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

export function newClient({ transport, endpoint }) {
  if (transport === "websocket") {
    globalThis.WebSocket = WebSocket; // Node 20 has none of its own
    return new TranscribeStreamingClient({ endpoint, ...WEBSOCKET });
  }
  return new TranscribeStreamingClient({ endpoint });
}
