"""One stream on the server's side: which commands follow what comes in, and when."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from itertools import count, pairwise
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from connectors.transcribe.errors import ChecksumError
from connectors.transcribe.events import encode_audio_event
from connectors.transcribe.eventstream import MessageDecoder, encode_message
from connectors.transcribe.model import MedicalResult, parse_transcript_event
from deploy.local.transcribe.audio_events import PlainAudioEvents, SignedAudioEvents
from deploy.local.transcribe.authentication import Keyring
from deploy.local.transcribe.commands import (
    Command,
    EndResponse,
    FinalSent,
    FinishRecognition,
    PauseReading,
    Recognise,
    ResetStream,
    Send,
)
from deploy.local.transcribe.faults import Fault, FaultKind, FaultRule
from deploy.local.transcribe.recognisers import Segment, Word
from deploy.local.transcribe.results import EMPTY_TRANSCRIPT_EVENT
from deploy.local.transcribe.stream import StreamSettings, TranscriptionStream, split_channels

SECOND = bytes(32_000)  # one second of audio at 16 kHz
MakeStream = Callable[..., TranscriptionStream]


@pytest.fixture
def make_stream(client: Any, keyring: Keyring, now_ms: int) -> MakeStream:
    def make(*faults: Fault, **settings: Any) -> TranscriptionStream:
        numbers = count()
        return TranscriptionStream(
            StreamSettings(**({"sample_rate_hertz": 16_000} | settings)),
            SignedAudioEvents(keyring.verify_request(client.request(), now_ms)),
            [FaultRule(fault) for fault in faults],
            lambda: f"result-{next(numbers)}",
            now_ms,
        )

    return make


def segment(index: int, *words: str, is_partial: bool = False) -> Segment:
    items = tuple(Word(word, float(n), n + 0.5, None if is_partial else 0.9) for n, word in enumerate(words))
    return Segment(index, is_partial, 0.0, len(words) - 0.5, items)


def sent(commands: Iterable[Command]) -> bytes:
    return b"".join(command.data for command in commands if isinstance(command, Send))


def results(commands: Iterable[Command]) -> list[MedicalResult]:
    messages = MessageDecoder().receive_data(sent(commands))
    return [result for message in messages for result in parse_transcript_event(message.payload)]


def exception(commands: Sequence[Command]) -> tuple[str, str]:
    """Name and text of the exception that ends the response, in the recorded form of the real service."""
    *_, message = MessageDecoder().receive_data(sent(commands))
    assert set(message.headers) == {":exception-type", ":content-type", ":message-type"}
    assert message.headers[":message-type"] == "exception"
    name = str(message.headers[":exception-type"])
    assert isinstance(commands[-1], EndResponse)
    return name, json.loads(message.payload)["Message"]


def audio_of(commands: Iterable[Command]) -> list[tuple[bytes, ...]]:
    return [command.channels for command in commands if isinstance(command, Recognise)]


# The orderly path -------------------------------------------------------------------------


def test_starts_with_an_empty_event(make_stream: MakeStream) -> None:
    (command,) = make_stream().start()
    assert command == Send(EMPTY_TRANSCRIPT_EVENT)
    assert len(EMPTY_TRANSCRIPT_EVENT) == 130  # as long as the recorded ones


@given(cuts=st.lists(st.integers(min_value=0, max_value=10_000), max_size=10))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_audio_reaches_the_recogniser_however_the_body_is_cut(
    make_stream: MakeStream, client: Any, now_ms: int, cuts: list[int]
) -> None:
    stream = make_stream()
    data = client.event(b"abcd") + client.event(b"efgh") + client.end()
    edges = sorted({0, len(data), *(cut % len(data) for cut in cuts)})
    commands: list[Command] = []
    for start, end in pairwise(edges):
        commands += stream.receive_data(data[start:end], now_ms)
    assert commands == [Recognise((b"abcd",)), Recognise((b"efgh",)), FinishRecognition()]
    assert stream.receive_end() == []
    assert stream.recognition_finished() == [EndResponse("complete")]
    assert stream.has_ended


def test_results_keep_their_id_from_partial_to_final(make_stream: MakeStream) -> None:
    stream = make_stream()
    commands = stream.receive_segments(0, [segment(0, "one", is_partial=True), segment(0, "one", "two")])
    commands += stream.receive_segments(0, [segment(1, "three")])
    assert [(r.result_id, r.is_partial, r.alternatives[0].transcript) for r in results(commands)] == [
        ("result-0", True, "one"),
        ("result-0", False, "one two"),
        ("result-1", False, "three"),
    ]


def test_an_empty_event_follows_each_final(make_stream: MakeStream) -> None:
    commands = make_stream().receive_segments(0, [segment(0, "one")])
    assert isinstance(commands[1], FinalSent)
    assert commands[2] == Send(EMPTY_TRANSCRIPT_EVENT)


def test_a_final_is_reported_for_the_event_log(make_stream: MakeStream, client: Any, now_ms: int) -> None:
    stream = make_stream()
    stream.receive_data(client.event(SECOND), now_ms)
    commands = stream.receive_segments(0, [segment(0, "one")])
    assert FinalSent("result-0", 0.5, 1.0) in commands


def test_channels_are_split_and_named(make_stream: MakeStream, client: Any, now_ms: int) -> None:
    stream = make_stream(channel_ids=("ch_0", "ch_1"))
    commands = stream.receive_data(client.event(b"aabbccdd"), now_ms)
    assert audio_of(commands) == [(b"aacc", b"bbdd")]
    commands = stream.receive_segments(1, [segment(0, "one")]) + stream.receive_segments(
        0, [segment(0, "x", is_partial=True)]
    )
    assert [(r.channel_id, r.result_id) for r in results(commands)] == [
        ("ch_1", "result-0"),
        ("ch_0", "result-1"),
    ]


def test_speakers_and_phi_are_told_if_the_stream_asked(make_stream: MakeStream) -> None:
    plain, asking = make_stream(), make_stream(show_speaker_label=True, identify_phi=True)
    for stream, speakers, entities in ((plain, [None, None], []), (asking, ["1", None, "0"], ["B7"])):
        (result,) = results(stream.receive_segments(0, [segment(1, "a", "B7")]))
        (alternative,) = result.alternatives
        assert [item.speaker for item in alternative.items] == speakers
        assert [entity.content for entity in alternative.entities] == entities


def test_one_channel_is_passed_as_it_is() -> None:
    assert split_channels(b"abcd", 1) == (b"abcd",)


def test_an_empty_audio_event_ends_the_audio_once(make_stream: MakeStream, client: Any, now_ms: int) -> None:
    """The JavaScript SDK's way: an AudioEvent without audio, then the signed empty frame."""
    stream = make_stream()
    assert stream.receive_data(client.event(b"") + client.end(), now_ms) == [FinishRecognition()]


# What is refused ---------------------------------------------------------------------------


def test_an_end_without_the_empty_frame(make_stream: MakeStream, client: Any, now_ms: int) -> None:
    stream = make_stream()
    stream.receive_data(client.event(b"ab"), now_ms)
    assert exception(stream.receive_end()) == (
        "BadRequestException",
        "A complete signal was sent without the preceding empty frame.",
    )
    assert stream.receive_end() == []


def test_a_wrong_signature_ends_the_stream_and_its_audio_is_not_heard(
    make_stream: MakeStream, client: Any, now_ms: int
) -> None:
    stream = make_stream()
    client.event(b"lost")
    commands = stream.receive_data(client.event(b"next"), now_ms)
    assert exception(commands)[0] == "BadRequestException"
    assert audio_of(commands) == []
    assert stream.receive_data(client.event(b"more"), now_ms) == []


def test_audio_before_a_wrong_message_is_still_heard(
    make_stream: MakeStream, client: Any, now_ms: int
) -> None:
    stream = make_stream()
    event = client.event(b"good")
    commands = stream.receive_data(event + event, now_ms)
    assert audio_of(commands) == [(b"good",)]
    assert exception(commands)[0] == "BadRequestException"


def test_bytes_that_are_no_event_stream(make_stream: MakeStream, now_ms: int) -> None:
    assert "Could not decode" in exception(make_stream().receive_data(bytes(100), now_ms))[1]


def test_signed_bytes_that_are_no_audio_event(make_stream: MakeStream, client: Any, now_ms: int) -> None:
    other = encode_message({":message-type": "event", ":event-type": "ConfigurationEvent"}, b"{}")
    for inner in (b"not a message", other):
        stream = make_stream()
        assert exception(stream.receive_data(client.sign(inner), now_ms))[0] == "BadRequestException"


@pytest.mark.parametrize(("size", "text"), [(3, "within a sample"), (32_770, "too long")])
def test_a_chunk_of_a_wrong_size(
    make_stream: MakeStream, client: Any, now_ms: int, size: int, text: str
) -> None:
    stream = make_stream()
    assert text in exception(stream.receive_data(client.event(bytes(size)), now_ms))[1]


def test_a_recogniser_that_breaks_down(make_stream: MakeStream) -> None:
    stream = make_stream()
    assert exception(stream.recognition_failed())[0] == "InternalFailureException"
    assert stream.recognition_failed() == []


# Time ------------------------------------------------------------------------------------------


def test_the_idle_timeout_counts_from_the_last_audio(
    make_stream: MakeStream, client: Any, now_ms: int
) -> None:
    stream = make_stream()
    assert stream.next_deadline_ms() == now_ms + 15_000
    stream.receive_data(client.event(b"ab", now_ms + 9000), now_ms + 9000)
    assert stream.next_deadline_ms() == now_ms + 24_000
    assert stream.handle_timeout(now_ms + 23_999) == []
    assert exception(stream.handle_timeout(now_ms + 24_000)) == (
        "BadRequestException",
        "Your request timed out because no new audio was received for 15 seconds.",
    )
    assert stream.next_deadline_ms() is None


def test_incomplete_bytes_are_no_new_audio(make_stream: MakeStream, client: Any, now_ms: int) -> None:
    stream = make_stream()
    stream.receive_data(client.event(b"ab")[:50], now_ms + 9000)
    assert stream.next_deadline_ms() == now_ms + 15_000


def test_the_longest_duration_ends_a_busy_stream(make_stream: MakeStream, client: Any, now_ms: int) -> None:
    stream = make_stream(max_stream_seconds=20.0)
    stream.receive_data(client.event(b"ab", now_ms + 14_000), now_ms + 14_000)
    assert stream.next_deadline_ms() == now_ms + 20_000
    assert exception(stream.handle_timeout(now_ms + 20_000))[0] == "LimitExceededException"


def test_a_draining_stream_has_no_deadline(make_stream: MakeStream, client: Any, now_ms: int) -> None:
    stream = make_stream()
    stream.receive_data(client.end(), now_ms)
    assert stream.next_deadline_ms() is None
    assert stream.handle_timeout(now_ms + 100_000) == []


# Faults -----------------------------------------------------------------------------------------


def test_reset_within_a_segment(make_stream: MakeStream) -> None:
    stream = make_stream(Fault(FaultKind.RESET, after_partials=2))
    assert results(stream.receive_segments(0, [segment(0, "a", is_partial=True)]))
    commands = stream.receive_segments(0, [segment(0, "a", "b", is_partial=True), segment(0, "a", "b")])
    assert len(results(commands)) == 1
    assert commands[-1] == ResetStream()
    assert stream.receive_segments(0, [segment(0, "a", "b")]) == []


def test_exception_after_seconds_of_audio(make_stream: MakeStream, client: Any, now_ms: int) -> None:
    code = "ServiceUnavailableException"
    stream = make_stream(Fault(FaultKind.EXCEPTION, after_audio_seconds=1.5, code=code, message="m"))
    assert stream.receive_data(client.event(SECOND), now_ms) == [Recognise((SECOND,))]
    assert exception(stream.receive_data(client.event(SECOND), now_ms)) == (code, "m")


def test_clean_end_says_nothing(make_stream: MakeStream, client: Any, now_ms: int) -> None:
    stream = make_stream(Fault(FaultKind.CLEAN_END))
    assert stream.receive_data(client.event(b"ab"), now_ms)[-1] == EndResponse("fault: clean_end")
    assert stream.receive_end() == []


def test_truncate_ends_within_a_message(make_stream: MakeStream, client: Any, now_ms: int) -> None:
    commands = make_stream(Fault(FaultKind.TRUNCATE)).receive_data(client.event(b"ab"), now_ms)
    decoder = MessageDecoder()
    assert decoder.receive_data(sent(commands)) == []
    assert not decoder.at_boundary
    assert isinstance(commands[-1], EndResponse)


def test_slow_read_pauses_after_each_piece_of_the_body(
    make_stream: MakeStream, client: Any, now_ms: int
) -> None:
    stream = make_stream(Fault(FaultKind.SLOW_READ, after_audio_seconds=1.0, seconds=2.0))
    assert PauseReading(2.0) not in stream.receive_data(client.event(b"ab"), now_ms)
    assert stream.receive_data(client.event(SECOND), now_ms)[-1] == PauseReading(2.0)
    assert stream.receive_data(client.event(b"ab"), now_ms)[-1] == PauseReading(2.0)


def test_a_stall_takes_audio_and_sends_nothing_until_it_is_over(
    make_stream: MakeStream, client: Any, now_ms: int
) -> None:
    stream = make_stream(Fault(FaultKind.STALL, seconds=4.0))
    assert audio_of(stream.receive_data(client.event(b"ab"), now_ms)) == [(b"ab",)]
    assert stream.receive_segments(0, [segment(0, "one")]) == []
    assert stream.receive_data(client.end(), now_ms) == [FinishRecognition()]
    assert stream.recognition_finished() == []
    assert stream.next_deadline_ms() == now_ms + 4000
    assert stream.handle_timeout(now_ms + 3999) == []
    released = stream.handle_timeout(now_ms + 4000)
    assert [r.alternatives[0].transcript for r in results(released)] == ["one"]
    assert released[-1] == EndResponse("complete")


def test_bad_crc_strikes_the_event_after_the_partial_it_waited_for(make_stream: MakeStream) -> None:
    stream = make_stream(Fault(FaultKind.BAD_CRC, after_partials=2))
    partials = [segment(0, "a", is_partial=True), segment(0, "a", "b", is_partial=True)]
    commands = stream.receive_segments(0, partials)
    assert [r.alternatives[0].transcript for r in results(commands)] == ["a", "a b"]
    with pytest.raises(ChecksumError):
        results(stream.receive_segments(0, [segment(0, "a", "b", "c")]))


def test_a_stall_holds_back_a_failure_too(make_stream: MakeStream, client: Any, now_ms: int) -> None:
    stream = make_stream(Fault(FaultKind.STALL, seconds=4.0))
    stream.receive_data(client.event(b"ab"), now_ms)
    assert stream.recognition_failed() == []
    assert exception(stream.handle_timeout(now_ms + 4000))[0] == "InternalFailureException"


def test_a_websockets_audio_may_end_without_an_event(now_ms: int) -> None:
    settings = StreamSettings(sample_rate_hertz=16_000)
    stream = TranscriptionStream(settings, PlainAudioEvents(), [], lambda: "id", now_ms)
    assert stream.receive_data(encode_audio_event(b"ab"), now_ms) == [Recognise((b"ab",))]
    assert stream.receive_end() == [FinishRecognition()]
    assert stream.receive_end() == []
    assert stream.recognition_finished() == [EndResponse("complete")]


def test_a_fault_can_be_added_to_a_running_stream(make_stream: MakeStream, client: Any, now_ms: int) -> None:
    stream = make_stream()
    stream.receive_data(client.event(b"ab"), now_ms)
    stream.add_fault(FaultRule(Fault(FaultKind.RESET)))
    assert stream.receive_data(client.event(b"ab"), now_ms)[-1] == ResetStream()


def test_audio_and_text_are_hidden_from_repr(make_stream: MakeStream, client: Any, now_ms: int) -> None:
    stream = make_stream()
    commands = stream.receive_data(client.event(b"secret"), now_ms)
    commands += stream.receive_segments(0, [segment(0, "secret")])
    assert "secret" not in repr(commands)
