"""The adapter for Vosk, with the library faked at its API (no model can be downloaded in a test)."""

from __future__ import annotations

import asyncio
import itertools
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deploy.local.transcribe.errors import LocalTranscribeError, RecogniserError, SpeechError
from deploy.local.transcribe.recognisers import RecognitionRequest, Segment
from deploy.local.transcribe.recognisers.segment_writer import MAX_SEGMENT_SECONDS
from deploy.local.transcribe.recognisers.vosk import (
    PLUGIN,
    VoskRecogniser,
    load_model,
    read_model_hertz,
)
from deploy.local.transcribe.results import join_words

MakeModel = Callable[..., Path]
HEARD = [
    ["a", 0.3, 0.5, 0.9],
    ["heart", 0.5, 0.9, 0.8],
    ["rate", 0.9, 1.2, 1.0],
    ["of", 1.2, 1.3, 1.0],
    ["seventy", 1.3, 1.7, 0.7],
    ["five", 1.7, 2.0, 0.6],
    ["[unk]", 2.0, 2.1, 0.1],
    ["yes", 3.3, 3.6, 0.95],
]


@pytest.fixture
def make_model(tmp_path: Path) -> MakeModel:
    """Makes a model directory of Vosk's layout whose stand-in hears `words`."""

    def make(words: Sequence[Sequence[Any]] = HEARD, hertz: int = 16_000, **script: Any) -> Path:
        for name in ("am", "conf"):
            (tmp_path / name).mkdir()
        (tmp_path / "am" / "final.mdl").touch()
        (tmp_path / "conf" / "model.conf").touch()
        (tmp_path / "conf" / "mfcc.conf").write_text(f"--use-energy=false\n--sample-frequency={hertz}\n")
        (tmp_path / "heard.json").write_text(json.dumps({"words": words} | script))
        return tmp_path

    return make


def recogniser(vosk: ModuleType, directory: Path, rate: int = 16_000) -> VoskRecogniser:
    return VoskRecogniser(vosk, load_model(vosk, directory), read_model_hertz(directory), rate)


def listen(
    found: VoskRecogniser, seconds: float, rate: int = 16_000, cuts: Sequence[int] = ()
) -> list[Segment]:
    size = round(seconds * rate) * 2
    edges = sorted({0, size, *(cut % size for cut in cuts)})
    segments = [s for start, end in itertools.pairwise(edges) for s in found.accept(bytes(end - start))]
    return segments + list(found.finish())


def finals(segments: Sequence[Segment]) -> list[Segment]:
    return [segment for segment in segments if not segment.is_partial]


def test_words_become_segments_with_times_and_confidences(vosk: ModuleType, make_model: MakeModel) -> None:
    first, second = finals(listen(recogniser(vosk, make_model()), 5.0))
    assert [join_words(final.words) for final in (first, second)] == ["A heart rate of 75.", "Yes."]
    assert (first.index, first.start_seconds, first.end_seconds) == (0, 0.3, 2.0)
    number = first.words[-2]
    assert (number.start_seconds, number.end_seconds, number.confidence) == (1.3, 2.0, 0.6)
    assert (second.index, second.start_seconds, second.words[0].confidence) == (1, 3.3, 0.95)


def test_partials_grow_at_a_cadence_without_confidence(vosk: ModuleType, make_model: MakeModel) -> None:
    segments = listen(recogniser(vosk, make_model()), 5.0)
    texts = [join_words(s.words) for s in segments if s.is_partial and s.index == 0]
    assert texts[:4] == ["A", "A heart", "A heart", "A heart rate"]
    assert len(texts) == 11  # each 0.2 s from 0.4 to 2.4
    assert {s.start_seconds for s in segments if s.index == 0} == {0.3}
    assert not [word for s in segments if s.is_partial for word in s.words if word.confidence is not None]


@given(cuts=st.lists(st.integers(min_value=0), max_size=12))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_results_do_not_depend_on_how_the_audio_is_cut(
    vosk: ModuleType, tmp_path_factory: pytest.TempPathFactory, cuts: list[int]
) -> None:
    directory = tmp_path_factory.mktemp("model")
    (directory / "final.mdl").touch()  # the layout of old models
    (directory / "mfcc.conf").touch()
    (directory / "heard.json").write_text(json.dumps({"words": HEARD}))
    whole, cut = (listen(recogniser(vosk, directory), 4.0, cuts=where) for where in ((), cuts))
    assert whole == cut


def test_audio_that_ends_within_a_word_gives_its_final(vosk: ModuleType, make_model: MakeModel) -> None:
    (final,) = finals(listen(recogniser(vosk, make_model()), 0.75))
    assert join_words(final.words) == "A heart."


def test_speech_that_never_pauses_is_cut_and_no_word_is_lost(vosk: ModuleType, make_model: MakeModel) -> None:
    words = [[f"word{n}", n / 2, n / 2 + 0.5, 0.9] for n in range(100)]
    ends = finals(listen(recogniser(vosk, make_model(words)), 51.0))
    assert len(ends) == 4
    assert all(final.end_seconds - final.start_seconds <= MAX_SEGMENT_SECONDS + 0.5 for final in ends)
    heard = [word.content.lower() for final in ends for word in final.words if not word.is_punctuation]
    assert heard == [word[0] for word in words]


def test_silence_and_no_audio_are_no_result(vosk: ModuleType, make_model: MakeModel) -> None:
    directory = make_model([])
    assert listen(recogniser(vosk, directory), 8.0) == []
    assert list(recogniser(vosk, directory).finish()) == []


@pytest.mark.parametrize(
    ("model_hertz", "rate", "expected"),
    [(16_000, 8000, 16_000), (8000, 8000, 8000), (16_000, 44_100, 44_100)],
)
def test_only_a_rate_below_the_model_s_is_brought_up(
    vosk: ModuleType, make_model: MakeModel, model_hertz: int, rate: int, expected: int
) -> None:
    found = recogniser(vosk, make_model(hertz=model_hertz), rate)
    assert found._kaldi.hertz == expected
    first, _ = finals(listen(found, 5.0, rate))
    assert (first.start_seconds, first.end_seconds) == (0.3, 2.0)


def test_a_feature_file_without_a_rate_means_kaldis(tmp_path: Path) -> None:
    assert read_model_hertz(tmp_path) == 16_000
    (tmp_path / "mfcc.conf").write_text("# --sample-frequency=8000\n")
    assert read_model_hertz(tmp_path) == 16_000
    (tmp_path / "mfcc.conf").write_text("--sample-frequency=8000 # telephone\n")
    assert read_model_hertz(tmp_path) == 8000


def test_the_log_is_cut_down_once_the_model_is_loaded(vosk: ModuleType, make_model: MakeModel) -> None:
    load_model(vosk, make_model())
    assert vosk.log_levels == [-2, -3]


# What is refused -------------------------------------------------------------------------------------


def refusal(options: dict[str, str]) -> str:
    with pytest.raises(LocalTranscribeError) as caught:
        PLUGIN.open(options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_wrong_directory_is_named_with_what_is_missing(vosk: ModuleType, tmp_path: Path) -> None:
    assert refusal({}).startswith("--model DIR is needed: the directory with a Vosk model")
    nowhere = tmp_path / "nowhere"
    assert f"--model {nowhere}: there is no such directory" in refusal({"model": str(nowhere)})
    assert f"--model {tmp_path}: am/final.mdl and conf/model.conf missing" in refusal(
        {"model": str(tmp_path)}
    )
    (tmp_path / "mfcc.conf").touch()
    assert f"--model {tmp_path}: final.mdl missing" in refusal({"model": str(tmp_path)})


def test_a_directory_that_vosk_cannot_load_is_named(vosk: ModuleType, make_model: MakeModel) -> None:
    directory = make_model()
    (directory / "heard.json").unlink()
    expected = f"--model {directory}: Vosk cannot load it (Failed to create a model)"
    assert refusal({"model": str(directory)}) == expected


def test_a_missing_library_is_one_sentence_with_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "vosk", None)
    with pytest.raises(RecogniserError) as caught:
        PLUGIN.open({"model": "."})
    assert str(caught.value) == "--recogniser vosk needs the Python package vosk: pip install vosk"


def test_a_library_that_fails_is_an_error_without_its_text(vosk: ModuleType, make_model: MakeModel) -> None:
    async def work() -> None:
        host = PLUGIN.open({"model": str(make_model(fails_at=1.0)), "workers": "1"})
        delivered: list[Segment] = []

        async def deliver(segments: Sequence[Segment]) -> None:
            delivered.extend(segments)

        recognition = await host.open(RecognitionRequest(16_000), deliver)
        await recognition.accept(bytes(2 * 16_000 * 2))
        with pytest.raises(SpeechError, match=r"^the recogniser failed with Exception$"):
            await recognition.finish()
        recognition.close()
        host.close()

    asyncio.run(work())
