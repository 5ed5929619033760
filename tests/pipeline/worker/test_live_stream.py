"""One live stream against a scripted service: order, pace, the end, and every way to fail."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from connectors.transcribe.errors import (
    BadRequestError,
    ConnectError,
    CredentialsNotFoundError,
    LimitExceededError,
    StreamEndedError,
    StreamResetError,
    TranscribeError,
)
from pipeline.elements import AudioFormat
from pipeline.engine.answers import StreamFailure
from pipeline.engine.failures import FailureKind
from pipeline.worker import live_stream
from pipeline.worker.live_stream import (
    LiveStream,
    ResultsArrived,
    StreamClosed,
    StreamLost,
    StreamOpened,
    StreamReport,
    failure_of,
)
from tests.fakes.transcribe_stream import ScriptedStream
from tests.pipeline.builders import CHUNK_SAMPLES, FORMAT, SECRET_TEXT, STEREO, result, word

SPOKEN = (result("r1", word("hello", 0.0, 0.5)),)
CHUNK = bytes(2 * CHUNK_SAMPLES)


class Scene:
    """A live stream, the scripted stream it opens, and what it reported."""

    def __init__(
        self,
        stream: ScriptedStream | BaseException,
        *,
        audio: AudioFormat = FORMAT,
        catch_up_rate: float = 0.0,
        resample_to_hertz: int | None = None,
    ) -> None:
        self.reports: list[StreamReport] = []
        self.reports_at_end: list[int] = []
        self.stream_ids: list[str] = []
        self._scripted = stream
        self.live = LiveStream(
            7,
            audio,
            self._open,
            loop=asyncio.get_running_loop(),
            report=self.reports.append,
            catch_up_rate=catch_up_rate,
            resample_to_hertz=resample_to_hertz,
            ended=lambda: self.reports_at_end.append(len(self.reports)),
        )

    async def _open(self, stream_id: str) -> ScriptedStream:
        self.stream_ids.append(stream_id)
        if isinstance(self._scripted, BaseException):
            raise self._scripted
        return self._scripted

    async def until(self, condition: Callable[[], object]) -> None:
        async with asyncio.timeout(20):
            while not condition():  # noqa: ASYNC110 - what it waits for are plain lists
                await asyncio.sleep(0.001)

    async def finished(self) -> StreamReport:
        """The last report: closed or lost."""
        await self.until(lambda: self.reports and isinstance(self.reports[-1], StreamClosed | StreamLost))
        return self.reports[-1]

    async def failure(self) -> StreamFailure:
        last = await self.finished()
        assert isinstance(last, StreamLost)
        return last.failure


def run(scene: Coroutine[Any, Any, None]) -> None:
    asyncio.run(scene)


def test_audio_goes_out_in_order_results_come_in_and_the_end_follows_the_last_audio() -> None:
    async def scene() -> None:
        stream = ScriptedStream()
        played = Scene(stream)
        chunks = [bytes([n]) * 1600 for n in range(20)]
        for chunk in chunks[:10]:
            played.live.send(chunk)
        await played.until(lambda: b"".join(stream.sent) == b"".join(chunks[:10]))
        for chunk in chunks[10:]:
            played.live.send(chunk)
        played.live.end()
        assert await played.finished() == StreamClosed(7)
        assert b"".join(stream.sent) == b"".join(chunks)
        assert stream.calls == [*["send_audio"] * len(stream.sent), "end", "close"]
        assert played.live.written_samples == 20 * CHUNK_SAMPLES

    run(scene())


def test_chunks_that_wait_share_events_of_200_ms_and_one_alone_goes_as_it_is() -> None:
    async def scene() -> None:
        stream = ScriptedStream()
        played = Scene(stream)
        lengths_ms = [100, 100, 60, 60, 60, 100, 150]
        chunks = [bytes([n]) * (16 * ms) for n, ms in enumerate(lengths_ms)]
        for chunk in chunks:
            played.live.send(chunk)
        await played.until(lambda: sum(map(len, stream.sent)) == sum(map(len, chunks)))
        assert [len(piece) // 16 for piece in stream.sent] == [200, 180, 100, 150]
        played.live.send(chunks[0])
        await played.until(lambda: len(stream.sent) == 5)
        assert b"".join(stream.sent) == b"".join([*chunks, chunks[0]])
        played.live.drop()

    run(scene())


def test_reports_come_in_the_order_of_events_and_nothing_follows_the_last() -> None:
    async def scene() -> None:
        stream = ScriptedStream(request_id="request-9")
        stream.answer((), SPOKEN)
        played = Scene(stream)
        await played.until(lambda: len(played.reports) == 3)
        played.live.end()
        await stream.end_called.wait()
        stream.answer(SPOKEN, None)
        await played.finished()
        await asyncio.sleep(0.02)
        assert played.reports == [
            StreamOpened(7, played.stream_ids[0], "request-9"),
            ResultsArrived(7, ()),
            ResultsArrived(7, SPOKEN),
            ResultsArrived(7, SPOKEN),
            StreamClosed(7),
        ]

    run(scene())


def test_every_stream_gets_an_id_of_its_own() -> None:
    async def scene() -> None:
        scenes = [Scene(ScriptedStream()) for _ in range(5)]
        for played in scenes:
            played.live.end()
            await played.finished()
        assert len({played.stream_ids[0] for played in scenes}) == 5

    run(scene())


def test_audio_and_end_that_come_before_the_stream_is_open_are_not_lost() -> None:
    async def scene() -> None:
        stream = ScriptedStream()
        played = Scene(stream)
        played.live.send(CHUNK)
        played.live.end()
        await played.finished()
        assert stream.sent == [CHUNK]

    run(scene())


@pytest.mark.parametrize("audio", [FORMAT, STEREO])
def test_a_long_chunk_goes_out_in_pieces_of_whole_samples_and_200_ms_at_most(audio: AudioFormat) -> None:
    async def scene() -> None:
        stream = ScriptedStream()
        played = Scene(stream, audio=audio)
        samples = 8000 + 37
        payload = bytes(n % 251 for n in range(samples * audio.bytes_per_sample))
        played.live.send(payload)
        played.live.end()
        await played.finished()
        assert b"".join(stream.sent) == payload
        assert [audio.samples(len(piece)) for piece in stream.sent] == [1600] * 5 + [37]
        assert played.live.written_samples == samples

    run(scene())


def test_audio_is_sent_no_faster_than_the_catch_up_rate_after_a_first_burst() -> None:
    async def scene() -> None:
        stream = ScriptedStream()
        played = Scene(stream, catch_up_rate=20.0)
        for _ in range(50):  # five seconds of audio: one at once, four at twenty times real time
            played.live.send(CHUNK)
        played.live.end()
        await played.finished()
        sent_at = [at - stream.sent_at[0] for at in stream.sent_at]
        for number, at in enumerate(sent_at):
            earliest = ((number + 1) * 0.1 - 1.0 - 0.2) / 20.0
            assert at >= earliest - 0.002
        assert sent_at[-1] >= 0.18

    run(scene())


def test_a_pause_earns_no_credit_beyond_the_burst() -> None:
    async def scene() -> None:
        stream = ScriptedStream()
        played = Scene(stream, catch_up_rate=20.0)
        played.live.send(CHUNK)
        await played.until(lambda: stream.sent)
        await asyncio.sleep(0.3)
        for _ in range(30):
            played.live.send(CHUNK)
        played.live.end()
        await played.finished()
        assert stream.sent_at[-1] - stream.sent_at[1] >= (3.0 - 1.0 - 0.2) / 20.0 - 0.002

    run(scene())


# Failures


@pytest.mark.parametrize(
    ("error", "retryable", "kind"),
    [
        (ConnectError("nobody listens"), True, FailureKind.NETWORK),
        (LimitExceededError("too many streams"), True, FailureKind.THROTTLED),
        (BadRequestError("your audio is odd"), False, FailureKind.REQUEST),
    ],
)
def test_a_stream_that_cannot_be_opened_is_lost_with_the_service_s_reason(
    error: TranscribeError, retryable: bool, kind: FailureKind
) -> None:
    async def scene() -> None:
        played = Scene(error)
        assert await played.failure() == StreamFailure(error.code, error.message, retryable, kind)
        assert len(played.reports) == 1

    run(scene())


def test_an_error_of_the_service_in_the_middle_loses_the_stream_after_its_results() -> None:
    async def scene() -> None:
        stream = ScriptedStream()
        stream.answer(SPOKEN, LimitExceededError("too long"))
        played = Scene(stream)
        failure = await played.failure()
        assert (failure.code, failure.retryable) == ("LimitExceededException", True)
        assert [type(report) for report in played.reports] == [StreamOpened, ResultsArrived, StreamLost]
        assert stream.closed.is_set()

    run(scene())


def test_a_failed_write_loses_the_stream_when_the_service_says_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(live_stream, "_LAST_WORD_SECONDS", 0.05)

    async def scene() -> None:
        stream = ScriptedStream(send_error=StreamResetError("reset"))
        stream.answer()
        played = Scene(stream)
        played.live.send(CHUNK)
        assert (await played.failure()).code == "StreamResetError"
        assert played.live.written_samples == 0
        assert stream.closed.is_set()

    run(scene())


def test_what_the_service_says_just_after_a_failed_write_is_the_reason() -> None:
    async def scene() -> None:
        stream = ScriptedStream(send_error=StreamEndedError("the service has ended the stream"))
        stream.answer()
        played = Scene(stream)
        played.live.send(CHUNK)
        await played.until(lambda: "send_audio" in stream.calls)
        stream.answer(SPOKEN, BadRequestError("your audio is odd"))
        failure = await played.failure()
        assert (failure.code, failure.retryable) == ("BadRequestException", False)
        assert ResultsArrived(7, SPOKEN) in played.reports, "results on the way are kept"

    run(scene())


def test_a_clean_end_that_nobody_asked_for_is_a_lost_stream() -> None:
    async def scene() -> None:
        stream = ScriptedStream()
        stream.answer(SPOKEN, None)
        played = Scene(stream)
        assert (await played.failure()).code == "EndedEarly"

    run(scene())


def test_a_clean_end_before_all_audio_was_sent_is_a_lost_stream() -> None:
    async def scene() -> None:
        stream = ScriptedStream()
        played = Scene(stream, catch_up_rate=1.0)
        for _ in range(100):
            played.live.send(CHUNK)
        played.live.end()
        await played.until(lambda: stream.sent)
        stream.answer(None)
        assert (await played.failure()).code == "EndedEarly"
        assert "end" not in stream.calls

    run(scene())


def test_a_clean_end_although_the_closing_frame_was_not_sent_is_a_lost_stream() -> None:
    async def scene() -> None:
        stream = ScriptedStream(end_error=StreamEndedError("the service has ended the stream"))
        stream.answer()
        played = Scene(stream)
        played.live.end()
        await played.until(lambda: "end" in stream.calls)
        stream.answer(None)
        assert (await played.failure()).code == "EndedEarly"

    run(scene())


def test_a_defect_of_ours_is_reported_by_its_class_and_not_by_its_message() -> None:
    async def scene() -> None:
        stream = ScriptedStream()
        stream.answer(ValueError(SECRET_TEXT))
        failure = await Scene(stream).failure()
        assert failure.code == "ValueError"
        assert failure.retryable
        assert SECRET_TEXT not in failure.message

    run(scene())


def test_a_connection_that_hangs_while_closing_does_not_change_what_happened(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(live_stream, "_CLOSE_SECONDS", 0.05)

    async def scene() -> None:
        hanging = ScriptedStream()
        hanging.close_seconds = 60.0
        played = Scene(hanging)
        played.live.end()
        assert await played.finished() == StreamClosed(7)

    run(scene())


def test_an_error_while_closing_does_not_hide_the_service_s_reason() -> None:
    async def scene() -> None:
        stream = ScriptedStream(close_error=StreamResetError("reset"))
        stream.answer(BadRequestError("your audio is odd"))
        failure = await Scene(stream).failure()
        assert (failure.code, failure.retryable) == ("BadRequestException", False)

    run(scene())


# Giving up


def test_a_dropped_stream_is_closed_and_reports_nothing_more() -> None:
    async def scene() -> None:
        stream = ScriptedStream()
        played = Scene(stream, catch_up_rate=1.0)
        for _ in range(100):
            played.live.send(CHUNK)
        await played.until(lambda: stream.sent)
        reported = list(played.reports)
        played.live.drop()
        await stream.closed.wait()
        stream.answer(SPOKEN, StreamResetError("late"))
        await asyncio.sleep(0.05)
        assert played.reports == reported == [StreamOpened(7, played.stream_ids[0], "request")]

    run(scene())


def test_a_dropped_stream_reports_nothing_even_if_closing_fails() -> None:
    async def scene() -> None:
        stream = ScriptedStream(close_error=StreamResetError("reset"))
        played = Scene(stream)
        await played.until(lambda: played.reports)
        played.live.drop()
        await stream.closed.wait()
        await asyncio.sleep(0.05)
        assert len(played.reports) == 1

    run(scene())


# When nothing is left of it


@pytest.mark.parametrize("closing_seconds", [0.0, 0.05])
def test_a_stream_has_ended_when_its_connection_is_closed_and_its_last_report_made(
    closing_seconds: float,
) -> None:
    async def scene() -> None:
        stream = ScriptedStream()
        stream.close_seconds = closing_seconds
        played = Scene(stream)
        played.live.end()
        await played.until(lambda: played.reports_at_end)
        assert stream.closed.is_set()
        await asyncio.sleep(0.01)
        assert played.reports_at_end == [2], "opened and closed; told once"

    run(scene())


def test_a_dropped_stream_has_ended_only_when_its_connection_is_closed() -> None:
    async def scene() -> None:
        stream = ScriptedStream()
        stream.close_seconds = 0.05
        played = Scene(stream)
        await played.until(lambda: played.reports)
        played.live.drop()
        await played.until(lambda: "close" in stream.calls)
        assert played.reports_at_end == []
        await played.until(lambda: played.reports_at_end)
        assert stream.closed.is_set()

    run(scene())


def test_a_stream_that_could_not_be_opened_has_ended_too() -> None:
    async def scene() -> None:
        played = Scene(ConnectError("away"))
        await played.until(lambda: played.reports_at_end)
        assert played.reports_at_end == [1]

    run(scene())


def test_a_stream_dropped_before_it_began_is_never_opened_and_has_ended() -> None:
    async def scene() -> None:
        played = Scene(ScriptedStream())
        played.live.drop()
        await played.until(lambda: played.reports_at_end)
        assert (played.stream_ids, played.reports) == ([], [])

    run(scene())


def test_audio_that_is_not_on_the_wire_yet_is_told_in_seconds() -> None:
    async def scene() -> None:
        stream = ScriptedStream()
        played = Scene(stream, catch_up_rate=0.1)
        for _ in range(20):
            played.live.send(CHUNK)
        assert played.live.waiting_seconds == 2.0
        await played.until(lambda: stream.sent)
        assert 0.0 < played.live.waiting_seconds < 2.0
        played.live.drop()
        await stream.closed.wait()

    run(scene())


def test_a_failure_keeps_code_message_whether_a_retry_helps_and_its_kind() -> None:
    assert failure_of(LimitExceededError("busy")) == StreamFailure(
        "LimitExceededException", "busy", True, FailureKind.THROTTLED
    )
    assert failure_of(BadRequestError("odd")) == StreamFailure(
        "BadRequestException", "odd", False, FailureKind.REQUEST
    )


def test_a_worker_without_credentials_is_no_reason_to_refuse_a_session() -> None:
    assert failure_of(CredentialsNotFoundError("no AWS credentials")).retryable
