"""One recording on a scripted service: what is fed, what is read again, when it is given up."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from io import BytesIO
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.transcribe.errors import (
    AccessDeniedError,
    InternalFailureError,
    LimitExceededError,
    StreamResetError,
    TlsError,
)
from connectors.transcribe.model import MedicalResult
from pipeline.audio.audio_file import AudioFile, AudioSource, Piece, RawReader
from pipeline.audio.playback import UNPACED, chunk_bytes
from pipeline.elements import SessionSettings
from pipeline.engine.commands import EmitFinal, EmitPartial, EmitSessionEnded
from pipeline.engine.failures import FailureKind
from pipeline.errors import SettingsError
from pipeline.output.transcript_text import Ending
from pipeline.worker import file_session
from pipeline.worker.file_session import FileSession, PieceDecoder, SourceLog
from pipeline.worker.live_outputs import Output
from pipeline.worker.service import ServiceSettings
from tests.fakes.transcribe_stream import ScriptedService, ScriptedStream
from tests.pipeline.builders import FORMAT, result, word

CHUNK = chunk_bytes(FORMAT)


def chunk_of(number: int) -> bytes:
    return bytes([number % 250 + 1]) * CHUNK


def recording(chunks: int) -> bytes:
    """Chunk n is filled with the value n + 1."""
    return b"".join(chunk_of(number) for number in range(chunks))


def source_of(data: bytes) -> AudioFile:
    return AudioFile(RawReader(BytesIO(data), FORMAT), FORMAT)


class Speaking(ScriptedStream):
    """A stream that hears a chunk of the value n + 1 as the word n.

    `finals`: at these numbers of chunks received a final speaks for all since the last one; at the end one
    speaks for the rest. `fails_at`: with so many chunks received the stream breaks with `error`.
    """

    def __init__(
        self, finals: Sequence[int] = (), fails_at: int | None = None, error: BaseException | None = None
    ) -> None:
        super().__init__()
        self._finals, self._fails_at, self._error = set(finals), fails_at, error or StreamResetError("cut")
        self._heard: list[tuple[str, float]] = []
        self._samples = self._count = 0

    async def send_audio(self, payload: bytes) -> None:
        await super().send_audio(payload)
        for start in range(0, len(payload), CHUNK):
            self._hear(payload[start : start + CHUNK])

    def _hear(self, chunk: bytes) -> None:
        self._heard.append((str(chunk[0] - 1), self._samples / FORMAT.sample_rate_hertz))
        self._samples += FORMAT.samples(len(chunk))
        self._count += 1
        if self._count in self._finals:
            self._speak()
        elif self._count != self._fails_at:
            self._answers.put_nowait((self._result(partial=True),))
        if self._count == self._fails_at:
            self._answers.put_nowait(self._error)

    async def end(self) -> None:
        self._speak()
        await super().end()

    def _speak(self) -> None:
        if self._heard:
            self._answers.put_nowait((self._result(partial=False),))
            self._heard = []

    def _result(self, *, partial: bool) -> MedicalResult:
        words = [word(content, start, start + 0.1) for content, start in self._heard]
        return result(f"r{round(words[0].start_time * 10)}", *words, partial=partial)


class Play:
    """A recording played to a scripted service, with what was shown and told."""

    def __init__(
        self,
        source: AudioSource,
        *streams: ScriptedStream | BaseException,
        speed: float = UNPACED,
        max_retries: int = 5,
        arrival: threading.Event | None = None,
    ) -> None:
        self.service = ScriptedService(streams)
        self.outputs: list[Output] = []
        self.told: list[str] = []
        self.session = FileSession(
            source,
            service=cast("ServiceSettings", self.service),
            settings=SessionSettings(specialty="CARDIOLOGY"),
            speed=speed,
            max_retries=max_retries,
            show=self.show,
            tell=self.told.append,
            arrival=arrival or threading.Event(),
        )
        self.on_output: Callable[[Output], None] = lambda _output: None

    def show(self, output: Output) -> None:
        self.outputs.append(output)
        self.on_output(output)

    def run(self) -> Ending:
        return self.session.run()

    def found(self, kind: type[Any]) -> list[Any]:
        return [output for output in self.outputs if isinstance(output, kind)]

    @property
    def words(self) -> list[int]:
        return [
            int(item.content)
            for output in self.found(EmitFinal)
            for item in output.final.alternatives[0].items
        ]


@pytest.fixture(autouse=True)
def _quick_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_session, "full_jitter", lambda _failures: 0.01)


# The orderly path


def test_every_chunk_is_sent_once_and_every_final_shown() -> None:
    stream = Speaking(finals=(4, 9))
    play = Play(source_of(recording(23)), stream)
    ending = play.run()
    assert b"".join(stream.sent) == recording(23)
    assert play.words == list(range(23))
    assert ending == Ending(2.3, 2.3, finals=3, streams=1, retries=0)
    (ended,) = play.found(EmitSessionEnded)
    assert (ended.summary.reason, ended.summary.chunks) == ("END_OF_SESSION", 23)
    assert play.found(EmitPartial)
    assert play.told == []


def test_the_settings_reach_the_service_and_names_do_not() -> None:
    play = Play(source_of(recording(2)), Speaking())
    play.run()
    ((audio, settings, stream_id),) = play.service.requests
    assert audio == FORMAT
    assert settings == SessionSettings(specialty="CARDIOLOGY")
    assert len(stream_id) == 36
    assert play.found(EmitFinal)[0].final.session_id != stream_id


def test_a_recording_shorter_than_a_chunk_is_transcribed() -> None:
    stream = Speaking()
    ending = Play(source_of(chunk_of(0)[:100]), stream).run()
    assert b"".join(stream.sent) == chunk_of(0)[:100]
    assert ending.finals == 1


def test_a_recording_without_audio_is_a_wrong_file() -> None:
    with pytest.raises(SettingsError, match="AUDIO: there is no audio in it"):
        Play(source_of(b"")).run()


def test_a_long_recording_is_not_sent_faster_than_it_is_taken() -> None:
    """More than the outbound buffer holds; nothing has to be read again."""
    stream = Speaking(finals=range(10, 1000, 10))
    play = Play(source_of(recording(350)), stream)
    assert play.run().streams == 1
    assert [payload[0] for payload in stream.chunks] == [chunk_of(number)[0] for number in range(350)]
    assert play.words == [number % 250 for number in range(350)]


def test_paced_chunks_are_not_ahead_of_their_time() -> None:
    stream = Speaking()
    started_at = time.monotonic()
    play = Play(source_of(recording(10)), stream, speed=4.0)
    play.run()
    for number, sent_at in enumerate(stream.sent_at):
        assert sent_at - started_at >= number * 0.1 / 4.0 - 0.001


# Recovery


@pytest.mark.parametrize("fails_at", [1, 3, 7, 12])
@pytest.mark.parametrize("speed", [UNPACED, 50.0])
def test_a_lost_stream_is_replaced_and_nothing_is_lost_or_doubled(fails_at: int, speed: float) -> None:
    first, second = Speaking(finals=(2, 6), fails_at=fails_at), Speaking(finals=(1,))
    play = Play(source_of(recording(12)), first, second, speed=speed)
    ending = play.run()
    assert play.words == list(range(12))
    assert (ending.streams, ending.retries, ending.covered_seconds) == (2, 1, 1.2)
    (sentence,) = play.told
    assert "StreamResetError: cut" in sentence
    assert "retry 1 of 5" in sentence


def test_a_stream_lost_after_the_last_final_ends_the_session_all_the_same() -> None:
    """Everything is spoken for, so there is nothing to send again and no stream to wait for."""
    play = Play(source_of(recording(6)), Speaking(finals=(6,), fails_at=6))
    ending = play.run()
    assert play.words == list(range(6))
    assert (ending.streams, ending.retries) == (1, 1)
    assert play.found(EmitSessionEnded)[0].summary.reason == "END_OF_SESSION"


def test_partials_of_a_lost_stream_are_withdrawn() -> None:
    play = Play(source_of(recording(8)), Speaking(finals=(4,), fails_at=6), Speaking())
    play.run()
    withdrawn = [output.partial for output in play.found(EmitPartial) if output.partial.superseded]
    assert [partial.result_id for partial in withdrawn] == ["r4"]


def test_a_final_ends_the_row_of_failures() -> None:
    broken = [Speaking(finals=(2,), fails_at=3) for _ in range(4)]
    play = Play(source_of(recording(12)), *broken, Speaking(), max_retries=1)
    ending = play.run()
    assert ending.failure is None
    assert play.words == list(range(12))
    assert ending.retries == 4
    assert all("retry 1 of 1" in sentence for sentence in play.told)


# Giving up


@pytest.mark.parametrize("max_retries", [0, 2])
def test_more_failures_in_a_row_than_allowed_end_it(max_retries: int) -> None:
    refusals = [LimitExceededError("too many streams") for _ in range(max_retries + 1)]
    play = Play(source_of(recording(12)), *refusals, max_retries=max_retries)
    ending = play.run()
    assert ending.failure is not None
    assert (ending.failure.code, ending.failure.kind) == ("LimitExceededException", FailureKind.THROTTLED)
    assert (ending.retries, ending.streams, ending.covered_seconds) == (max_retries, max_retries + 1, 0.0)
    assert len(play.told) == max_retries


@pytest.mark.parametrize(
    ("error", "kind"),
    [(AccessDeniedError("no"), FailureKind.ACCESS), (TlsError("not trusted"), FailureKind.NETWORK)],
)
def test_what_no_retry_can_mend_ends_it_at_once(error: BaseException, kind: FailureKind) -> None:
    play = Play(source_of(recording(12)), error)
    ending = play.run()
    assert ending.failure is not None
    assert ending.failure.kind is kind
    assert (ending.streams, ending.retries, play.told) == (1, 0, [])


def test_the_class_of_the_last_failure_decides() -> None:
    play = Play(source_of(recording(12)), StreamResetError("x"), InternalFailureError("y"), max_retries=1)
    ending = play.run()
    assert ending.failure is not None
    assert ending.failure.kind is FailureKind.SERVICE


def test_what_was_transcribed_before_it_was_given_up_is_told() -> None:
    play = Play(source_of(recording(12)), Speaking(finals=(4,), fails_at=6), AccessDeniedError("no"))
    ending = play.run()
    assert play.words == [0, 1, 2, 3]
    assert (ending.finals, ending.covered_seconds) == (1, 0.4)


# A source that takes its time


class Trickle:
    """An `AudioSource` that has a chunk when the test says so; it keeps what is not forgotten."""

    format = FORMAT

    def __init__(self) -> None:
        self.arrival = threading.Event()
        self.arrived: dict[int, Piece] = {}
        self.forgotten = 0

    def add(self, *numbers: int, last: bool = False) -> None:
        for number in numbers:
            self.arrived[number] = Piece(chunk_of(number), last and number == numbers[-1])
        self.arrival.set()

    def piece(self, number: int) -> Piece | None:
        assert number >= self.forgotten, "it was said that nobody would ask for it"
        return self.arrived.get(number)

    def forget_before(self, number: int) -> None:
        self.forgotten = max(self.forgotten, number)

    def close(self) -> None:
        """Nothing is open."""


def test_chunks_are_fed_as_they_arrive_and_only_covered_ones_forgotten() -> None:
    source = Trickle()
    first, second = Speaking(finals=(3,), fails_at=5), Speaking()
    play = Play(source, first, second, arrival=source.arrival)

    def go_on(_output: Output) -> None:
        if len(play.told) == 1:
            source.add(5, 6, last=True)

    play.on_output = go_on
    threading.Timer(0.02, source.add, (0, 1, 2, 3, 4)).start()
    ending = play.run()
    assert play.words == list(range(7))
    assert [payload[0] - 1 for payload in second.chunks] == [3, 4, 5, 6]
    assert source.forgotten >= 3
    assert ending.audio_seconds == pytest.approx(0.7)


# Interrupts


def test_an_interrupt_ends_the_audio_and_awaits_the_last_results() -> None:
    source = Trickle()
    source.add(*range(5))
    play = Play(source, Speaking(), arrival=source.arrival)

    def stop(_output: Output) -> None:
        if len(play.found(EmitPartial)) == 5:
            play.session.interrupt()

    play.on_output = stop
    ending = play.run()
    assert play.words == [0, 1, 2, 3, 4]
    assert (ending.interrupted, ending.failure, ending.covered_seconds) == (True, None, 0.5)
    assert any("interrupted" in sentence for sentence in play.told)


def test_an_interrupt_does_not_wait_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_session, "_LAST_RESULTS_SECONDS", 0.1)
    stream = ScriptedStream()
    stream.ends_by_itself = False  # and so never answers
    play = Play(source_of(recording(50)), stream, speed=1.0)
    threading.Timer(0.1, play.session.interrupt).start()
    ending = play.run()
    assert ending.interrupted
    assert ending.covered_seconds == 0.0
    assert 0.0 < ending.audio_seconds < 5.0


def test_an_interrupt_before_any_audio_ends_it() -> None:
    source = Trickle()
    play = Play(source, arrival=source.arrival)
    threading.Timer(0.02, play.session.interrupt).start()
    assert play.run() == Ending(0.0, 0.0, 0, 0, 0, interrupted=True)


# The log


@given(st.integers(1, 30), st.integers(0, 40), st.integers(0, 40), st.integers(0, 12 * CHUNK))
def test_the_log_gives_what_was_asked_for_within_the_bytes_allowed(
    chunks: int, start: int, length: int, max_bytes: int
) -> None:
    start, end = min(start, chunks - 1), min(start + length, chunks)
    log = SourceLog(source_of(recording(chunks)), "session-1")
    read = log.read("audio", 0, b"session-1", start, end, max_bytes=max_bytes).result(0)
    numbers = [record.offset for record in read.records]
    assert numbers == list(range(start, read.next_offset))
    assert [record.value for record in read.records] == [chunk_of(number) for number in numbers]
    assert read.complete == (read.next_offset >= end)
    if start < end:
        assert len(numbers) == min(end - start, max(1, max_bytes // CHUNK))


def test_the_last_record_says_so_and_becomes_the_chunk_that_ends_the_session() -> None:
    log = SourceLog(source_of(recording(3)), "session-1")
    read = log.read("audio", 0, b"session-1", 0, 3, max_bytes=10**6).result(0)
    chunks = [entry.chunk for entry in PieceDecoder("session-1", FORMAT).entries(read.records)]
    assert [chunk.end_of_session for chunk in chunks if chunk] == [False, False, True]
    assert [(chunk.sequence, chunk.payload) for chunk in chunks if chunk] == [
        (number, chunk_of(number)) for number in range(3)
    ]


def test_a_log_that_was_ended_early_ends_there_with_an_empty_chunk() -> None:
    log = SourceLog(source_of(recording(9)), "session-1")
    log.end_at(4)
    record = log.record(4)
    assert record is not None
    assert record.value == b""
    chunk = PieceDecoder("session-1", FORMAT).chunk(record)
    assert chunk.end_of_session
    before = log.record(3)
    assert before is not None
    assert before.value == chunk_of(3)


def test_an_interrupt_takes_no_lock_that_the_interrupted_thread_may_hold() -> None:
    """A signal handler that sets an Event for which its own thread waits may wait for ever (seen once)."""

    class Locked(threading.Event):
        def set(self) -> None:
            raise RuntimeError("its lock is held")

    play = Play(Trickle(), arrival=Locked())
    play.session.interrupt()
    assert play.run().interrupted
