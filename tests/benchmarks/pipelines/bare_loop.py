"""What people write instead: a consumer, a stream per session and a producer in one asyncio process.

As somebody would write it who knows the three well: one thread that polls Kafka, a queue and two tasks per
session, an idempotent producer, offsets committed every five seconds. The client of the service is
medstream's own, the cheapest there is for Python (AWS's SDK costs more: `make bench` shows how much). It
does nothing about order, duplicates, a lost stream or a restart: what that costs is what is to be measured.

    python -m tests.benchmarks.pipelines.bare_loop BOOTSTRAP ENDPOINT_URL AUDIO_TOPIC FINALS_TOPIC
"""

from __future__ import annotations

import asyncio
import sys
import time
import uuid
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from kafka import KafkaConsumer, KafkaProducer

from connectors.transcribe.clock import ServiceClock
from connectors.transcribe.endpoint import resolve_endpoint
from connectors.transcribe.http2 import open_http2_stream
from connectors.transcribe.model import MedicalResult, StartMedicalStreamTranscriptionRequest
from connectors.transcribe.sigv4 import Credentials
from connectors.transcribe.stream import TranscribeStream
from deploy.local.transcribe.authentication import LOCAL_ACCESS_KEY_ID, LOCAL_SECRET_ACCESS_KEY
from schemas.serde import SingleObjectSerde

REGION = "us-east-1"
COMMIT_SECONDS = 5.0
CREDENTIALS = Credentials(LOCAL_ACCESS_KEY_ID, LOCAL_SECRET_ACCESS_KEY)


class Loop:
    """Everything of the process. A queue holds the payloads of its session, then None."""

    def __init__(self, bootstrap_servers: str, url: str, audio_topic: str, finals_topic: str) -> None:
        self._endpoint = resolve_endpoint(REGION, url)
        self._clock = ServiceClock(lambda: time.time_ns() // 1_000_000)
        self._audio_topic, self._finals_topic = audio_topic, finals_topic
        self._chunks, self._finals = SingleObjectSerde("audio_chunk"), SingleObjectSerde("final_transcript")
        self._consumer = KafkaConsumer(
            audio_topic,
            bootstrap_servers=bootstrap_servers,
            group_id=f"bare-loop-{audio_topic}",
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            max_poll_records=5_000,
            metadata_max_age_ms=5_000,  # a topic that was just created is found soon
        )
        self._producer = KafkaProducer(bootstrap_servers=bootstrap_servers, acks="all", linger_ms=0)
        self._queues: dict[str, asyncio.Queue[bytes | None]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        loop, polling = asyncio.get_running_loop(), ThreadPoolExecutor(1)
        commit_at = time.monotonic() + COMMIT_SECONDS
        while True:
            polled = await loop.run_in_executor(polling, lambda: self._consumer.poll(timeout_ms=100))
            for records in polled.values():
                for record in records:
                    self._take(record)
            if time.monotonic() >= commit_at:
                await loop.run_in_executor(polling, self._consumer.commit_async)
                commit_at = time.monotonic() + COMMIT_SECONDS

    def _take(self, record: Any) -> None:
        chunk = self._chunks.decode(record.value)
        session_id = chunk["session_id"]
        queue = self._queues.get(session_id)
        if queue is None:
            queue = self._queues[session_id] = asyncio.Queue()
            task = asyncio.create_task(
                self._transcribe(session_id, chunk["sample_rate_hertz"], record.partition, queue)
            )
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        queue.put_nowait(chunk["payload"])
        if chunk["end_of_session"]:
            queue.put_nowait(None)

    async def _transcribe(
        self, session_id: str, rate_hertz: int, partition: int, queue: asyncio.Queue[bytes | None]
    ) -> None:
        request = StartMedicalStreamTranscriptionRequest(
            language_code="en-US",
            media_sample_rate_hertz=rate_hertz,
            media_encoding="pcm",
            specialty="PRIMARYCARE",
            type="CONVERSATION",
            session_id=str(uuid.uuid4()),
        )
        stream = await open_http2_stream(self._endpoint, request, CREDENTIALS, clock=self._clock)
        sending = asyncio.create_task(_send(stream, queue))
        index = 0
        try:
            while (results := await stream.receive()) is not None:
                for result in results:
                    if not result.is_partial:
                        self._publish(session_id, index, rate_hertz, partition, stream, result)
                        index += 1
            await sending
        finally:
            self._queues.pop(session_id, None)
            await stream.close()

    def _publish(
        self,
        session_id: str,
        index: int,
        rate_hertz: int,
        partition: int,
        stream: TranscribeStream,
        result: MedicalResult,
    ) -> None:
        record = {
            "session_id": session_id,
            "result_id": result.result_id,
            "segment_index": index,
            "channel_id": None,
            "start_time": result.start_time,
            "end_time": result.end_time,
            "started_at": None,
            "alternatives": [
                {
                    "transcript": alternative.transcript,
                    "items": [
                        {
                            "content": item.content,
                            "type": item.type,
                            "start_time": item.start_time,
                            "end_time": item.end_time,
                            "confidence": item.confidence,
                            "speaker": None,
                            "vocabulary_filter_match": None,
                        }
                        for item in alternative.items
                    ],
                    "entities": [],
                }
                for alternative in result.alternatives
            ],
            "language_code": "en-US",
            "specialty": "PRIMARYCARE",
            "type": "CONVERSATION",
            "sample_rate_hertz": rate_hertz,
            "source": {
                "topic": self._audio_topic,
                "partition": partition,
                "first_offset": 0,
                "last_offset": 0,
            },
            "stream_id": stream.session_id or "",
            "request_id": stream.request_id,
            "content_identification_type": None,
            "phi_masked": False,
        }
        self._producer.send(self._finals_topic, key=session_id.encode(), value=self._finals.encode(record))


async def _send(stream: TranscribeStream, queue: asyncio.Queue[bytes | None]) -> None:
    while (payload := await queue.get()) is not None:
        await stream.send_audio(payload)
    await stream.end()


def main(arguments: Sequence[str]) -> None:
    async def run() -> None:
        await Loop(*arguments).run()

    asyncio.run(run())


if __name__ == "__main__":
    main(sys.argv[1:])
