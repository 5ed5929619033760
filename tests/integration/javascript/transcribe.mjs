// node transcribe.mjs '{"audio": "speech.pcm", …}': streams a file of 16 kHz PCM and prints one JSON line for the
// response, each event, and the end or the error.
//
//   audio       path of the file
//   transport   "http2" (default) or "websocket"
//   operation   "medical" (default) or "standard"
//   endpoint    URL; without it the environment's
//   chunkBytes  bytes in an AudioEvent (default 3200, 100 ms)
//   ending      see audio.mjs (default "returns")
//   input       further members of the operation's input

import { readFile } from "node:fs/promises";
import {
  StartMedicalStreamTranscriptionCommand,
  StartStreamTranscriptionCommand,
  TranscribeStreamingServiceException,
} from "@aws-sdk/client-transcribe-streaming";
import { audioEvents } from "./audio.mjs";
import { newClient } from "./client.mjs";

const COMMON = { LanguageCode: "en-US", MediaSampleRateHertz: 16000, MediaEncoding: "pcm" };

function newCommand(operation, input) {
  if (operation === "standard") {
    return new StartStreamTranscriptionCommand({ ...COMMON, ...input });
  }
  const medical = { Specialty: "CARDIOLOGY", Type: "DICTATION" };
  return new StartMedicalStreamTranscriptionCommand({ ...COMMON, ...medical, ...input });
}

function print(kind, members) {
  console.log(JSON.stringify({ kind, ...members }));
}

function printError(error) {
  print("error", {
    name: error.name,
    className: error.constructor.name,
    isServiceException: error instanceof TranscribeStreamingServiceException,
    httpStatusCode: error.$metadata?.httpStatusCode,
    attempts: error.$metadata?.attempts,
    message: error.message,
  });
}

async function main({ operation, audio, chunkBytes = 3200, ending = "returns", input, ...where }) {
  const client = newClient(where);
  let endResults;
  const resultsEnded = new Promise((resolve) => {
    endResults = resolve;
  });
  try {
    const AudioStream = audioEvents(await readFile(audio), { chunkBytes, ending, resultsEnded });
    const response = await client.send(newCommand(operation, { ...input, AudioStream }));
    const { TranscriptResultStream: events, $metadata: metadata, ...echoed } = response;
    print("response", { httpStatusCode: metadata.httpStatusCode, ...echoed });
    for await (const event of events) {
      print("event", event);
    }
    print("end");
  } catch (error) {
    printError(error);
  } finally {
    endResults();
    client.destroy();
  }
}

await main(JSON.parse(process.argv[2]));
