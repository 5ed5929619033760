"""A process that speaks for many sessions at once: chunks of 100 ms, each session at moments of its own.

Sessions begin one after the other during the ramp and speak until the end, when each sends its end mark. Or
everything is sent at once, for a topic to be caught up with. librdkafka sends, which takes the least CPU
from what is measured. All audio is synthetic silence.

    python -m tests.benchmarks.pipelines.speakers '{"bootstrap_servers": ..., ...}'
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import asdict, dataclass

from confluent_kafka import Producer

from schemas.serde import SingleObjectSerde

CHUNK_SECONDS = 0.1
_TICK_SECONDS = 0.005


@dataclass(frozen=True, slots=True)
class Speech:
    """What is to be spoken: `sessions` for `seconds`, the first `ramp_seconds` of which they begin in.

    They begin at `begin_at` (Unix seconds). `at_once`: without waiting, each session of the same length.
    """

    bootstrap_servers: str
    topic: str
    name: str
    sessions: int
    seconds: float
    ramp_seconds: float = 0.0
    begin_at: float = 0.0
    at_once: bool = False
    sample_rate_hertz: int = 16_000

    def begins_at(self, session: int) -> float:
        """When a session speaks its first chunk, in Unix seconds."""
        return self.begin_at + session * self.ramp_seconds / self.sessions

    def to_argument(self) -> str:
        return json.dumps(asdict(self))


class Speakers:
    def __init__(self, speech: Speech) -> None:
        self._speech = speech
        self._payload = bytes(round(speech.sample_rate_hertz * CHUNK_SECONDS) * 2)
        self._encode = SingleObjectSerde("audio_chunk").encode
        self._producer = Producer(
            {
                "bootstrap.servers": speech.bootstrap_servers,
                "linger.ms": 2,
                "acks": "1",
                "queue.buffering.max.messages": 1_000_000,
            }
        )

    def speak(self) -> None:
        """In real time."""
        speech = self._speech
        end = speech.begin_at + speech.seconds
        begins = [speech.begins_at(n) for n in range(speech.sessions)]
        due, counts = begins.copy(), [0] * speech.sessions
        while (now := time.time()) < end:
            for n, at in enumerate(due):
                if at <= now:
                    self._send(n, counts[n], last=False)
                    counts[n] += 1
                    due[n] = begins[n] + counts[n] * CHUNK_SECONDS
            self._producer.poll(0)
            time.sleep(_TICK_SECONDS)
        for n, count in enumerate(counts):
            self._send(n, count, last=True)
        self._producer.flush(30)

    def speak_at_once(self) -> None:
        chunks = round(self._speech.seconds / CHUNK_SECONDS)
        for number in range(chunks):
            for n in range(self._speech.sessions):
                self._send(n, number, last=number == chunks - 1)
        self._producer.flush(120)

    def _send(self, session: int, number: int, *, last: bool) -> None:
        session_id = f"{self._speech.name}-{session}"
        chunk = {
            "session_id": session_id,
            "sequence": number,
            "payload": self._payload,
            "encoding": "PCM",
            "sample_rate_hertz": self._speech.sample_rate_hertz,
            "media_offset_ms": round(number * CHUNK_SECONDS * 1000),
            "end_of_session": last,
        }
        while True:
            try:
                self._producer.produce(self._speech.topic, self._encode(chunk), session_id.encode())
                return
            except BufferError:
                self._producer.poll(0.1)


if __name__ == "__main__":
    given = Speech(**json.loads(sys.argv[1]))
    speakers = Speakers(given)
    speakers.speak_at_once() if given.at_once else speakers.speak()
