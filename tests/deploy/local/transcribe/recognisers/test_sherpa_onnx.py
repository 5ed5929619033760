"""The adapter for sherpa-onnx, with the library faked at its API (no model can be downloaded in a test)."""

from __future__ import annotations

import itertools
import json
import math
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.local.transcribe.errors import LocalTranscribeError, SpeechError
from deploy.local.transcribe.recognisers import Segment
from deploy.local.transcribe.recognisers.segment_writer import MAX_SEGMENT_SECONDS
from deploy.local.transcribe.recognisers.sherpa_onnx import (
    END_SILENCE_SECONDS,
    PLUGIN,
    SherpaOnnxRecogniser,
    load_recogniser,
    read_words,
)
from deploy.local.transcribe.recognisers.sherpa_onnx_model import writes_capitals_only
from deploy.local.transcribe.results import join_words

MakeModel = Callable[..., Path]
TRANSDUCER = ("encoder.onnx", "decoder.onnx", "joiner.onnx")
SURE, UNSURE = math.log(0.9), math.log(0.5)
HEARD = [
    [" HEART", 0.4, SURE],
    [" RA", 0.8, UNSURE],
    ["TE", 1.0, SURE],
    ["▁SEVENTY", 1.2, SURE],
    [" FIVE", 1.5, SURE],
    [" YES", 3.2, SURE],
]


@pytest.fixture
def make_model(tmp_path: Path) -> MakeModel:
    """Makes a model directory with these files whose stand-in hears `tokens`."""

    def make(*files: str, tokens: Sequence[Sequence[Any]] = HEARD) -> Path:
        for name in ("tokens.txt", *(files or TRANSDUCER)):
            (tmp_path / name).touch()
        (tmp_path / "heard.json").write_text(json.dumps({"tokens": tokens}))
        return tmp_path

    return make


def recogniser(library: ModuleType, directory: Path, rate: int = 16_000) -> SherpaOnnxRecogniser:
    return SherpaOnnxRecogniser(load_recogniser(library, directory, {}), rate, lower=True)


def listen(
    found: SherpaOnnxRecogniser, seconds: float, rate: int = 16_000, cuts: Sequence[int] = ()
) -> list[Segment]:
    size = round(seconds * rate) * 2
    edges = sorted({0, size, *(cut % size for cut in cuts)})
    segments = [s for start, end in itertools.pairwise(edges) for s in found.accept(bytes(end - start))]
    return segments + list(found.finish())


def finals(segments: Sequence[Segment]) -> list[Segment]:
    return [segment for segment in segments if not segment.is_partial]


def test_tokens_become_segments_with_times_and_confidences(
    sherpa_onnx: ModuleType, make_model: MakeModel
) -> None:
    first, second = finals(listen(recogniser(sherpa_onnx, make_model()), 5.0))
    assert [join_words(final.words) for final in (first, second)] == ["Heart rate 75.", "Yes."]
    heart, rate, number, _ = first.words
    assert (heart.start_seconds, heart.end_seconds, heart.confidence) == (0.4, 0.7, 0.9)
    assert (rate.start_seconds, rate.end_seconds, rate.confidence) == (0.8, 1.2, 0.5)
    assert (number.start_seconds, number.end_seconds) == (1.2, 1.8)
    assert (second.index, second.start_seconds, second.end_seconds) == (1, 3.2, 3.5)


def test_partials_grow_without_confidence(sherpa_onnx: ModuleType, make_model: MakeModel) -> None:
    segments = listen(recogniser(sherpa_onnx, make_model()), 5.0)
    partials = [s for s in segments if s.is_partial and s.index == 0]
    texts = [join_words(partial.words) for partial in partials]
    assert list(dict.fromkeys(texts)) == ["Heart", "Heart ra", "Heart rate 70", "Heart rate 75"]
    assert len(texts) > 4, "they come at a cadence, also when nothing was added"
    assert {s.start_seconds for s in segments if s.index == 0} == {0.4}
    assert not [word for partial in partials for word in partial.words if word.confidence is not None]


@pytest.mark.parametrize("cuts", [[1], [1111, 6399, 6400, 6401], list(range(0, 160_000, 333))])
def test_results_do_not_depend_on_how_the_audio_is_cut(
    sherpa_onnx: ModuleType, make_model: MakeModel, cuts: list[int]
) -> None:
    directory = make_model()
    whole, cut = (listen(recogniser(sherpa_onnx, directory), 5.0, cuts=where) for where in ((), cuts))
    assert whole == cut


def test_audio_that_ends_within_speech_gives_its_final_cut_to_the_audio(
    sherpa_onnx: ModuleType, make_model: MakeModel
) -> None:
    (final,) = finals(listen(recogniser(sherpa_onnx, make_model(tokens=HEARD[:2])), 0.9))
    assert join_words(final.words) == "Heart ra."
    assert final.end_seconds == 0.9


def test_speech_that_never_pauses_is_cut_and_no_word_is_lost(
    sherpa_onnx: ModuleType, make_model: MakeModel
) -> None:
    tokens = [[f" word{n}", n / 4, SURE] for n in range(200)]
    ends = finals(listen(recogniser(sherpa_onnx, make_model(tokens=tokens)), 51.0))
    assert len(ends) == 4
    assert all(final.end_seconds - final.start_seconds <= MAX_SEGMENT_SECONDS + 1 for final in ends)
    assert all(before.end_seconds <= after.start_seconds for before, after in itertools.pairwise(ends))
    heard = [word.content.lower() for final in ends for word in final.words if not word.is_punctuation]
    assert heard == [token[0].strip() for token in tokens]


def test_silence_and_no_audio_are_no_result(sherpa_onnx: ModuleType, make_model: MakeModel) -> None:
    directory = make_model(tokens=[])
    assert listen(recogniser(sherpa_onnx, directory), 8.0) == []
    assert list(recogniser(sherpa_onnx, directory).finish()) == []


def test_the_library_is_told_the_stream_s_rate(sherpa_onnx: ModuleType, make_model: MakeModel) -> None:
    found = recogniser(sherpa_onnx, make_model(), 8000)
    assert len(finals(listen(found, 5.0, 8000))) == 2
    assert found._stream.rates == {8000}


# Tokens ----------------------------------------------------------------------------------------------


def test_punctuation_of_the_model_becomes_items() -> None:
    words = read_words([" Yes", ",", " I", " am", "?"], [0.0, 0.1, 0.3, 0.5, 0.6], [], 9.0)
    assert [(word.content, word.is_punctuation) for word in words] == [
        ("Yes", False),
        (",", True),
        ("I", False),
        ("am", False),
        ("?", True),
    ]
    assert words[1].start_seconds == words[0].end_seconds == 0.3


def test_special_tokens_and_lone_spaces_are_no_words() -> None:
    words = read_words(["<unk>", " ", "a", "<unk>", "b", " "], [0.0, 0.1, 0.2, 0.3, 0.4, 0.5], [], 9.0)
    assert [(word.content, word.start_seconds) for word in words] == [("ab", 0.1)]


def test_without_probabilities_there_is_no_confidence() -> None:
    (word,) = read_words([" a"], [0.0], [], 9.0)
    assert word.confidence is None


TOKENS = st.lists(
    st.tuples(st.sampled_from([" a", "b", "▁C", ".", " ", "<unk>"]), st.floats(0, 1), st.floats(-5, 0)),
    max_size=12,
)


@given(TOKENS, st.floats(0, 3))
def test_words_are_in_order_within_the_audio_and_hold_every_letter(
    steps: list[tuple[str, float, float]], heard: float
) -> None:
    times = list(itertools.accumulate(step[1] for step in steps))
    tokens = [step[0] for step in steps]
    words = read_words(tokens, times, [step[2] for step in steps], heard)
    letters = [token.strip(" ▁") for token in tokens if token != "<unk>"]
    assert "".join(word.content for word in words) == "".join(letters)
    for before, after in itertools.pairwise(words):
        assert before.end_seconds <= after.start_seconds + 1e-3
    for word in words:
        assert word.start_seconds <= word.end_seconds <= max(heard, word.start_seconds) + 1e-3
        assert (word.confidence is None) == word.is_punctuation


# Which files -----------------------------------------------------------------------------------------


def loaded(library: ModuleType, directory: Path, **options: str) -> tuple[str, dict[str, Any]]:
    """The constructor that was called, and the names of the files it was given."""
    load_recogniser(library, directory, options)
    name, arguments = library.constructed[-1]
    files = {key: Path(value).name for key, value in arguments.items() if isinstance(value, str)}
    assert files.pop("tokens") == "tokens.txt"
    return name, files


def test_the_library_finds_the_end_of_utterances_by_our_rules(
    sherpa_onnx: ModuleType, make_model: MakeModel
) -> None:
    load_recogniser(sherpa_onnx, make_model(), {})
    _, arguments = sherpa_onnx.constructed[-1]
    assert arguments["enable_endpoint_detection"] is True
    assert arguments["rule2_min_trailing_silence"] == END_SILENCE_SECONDS
    assert arguments["rule3_min_utterance_length"] == MAX_SEGMENT_SECONDS
    assert arguments["num_threads"] == 1


PARTS = ("encoder", "decoder", "joiner")
BOTH = tuple(f"{part}-epoch-9{kind}.onnx" for part in PARTS for kind in ("", ".int8"))


@pytest.mark.parametrize(
    ("files", "options", "chosen"),
    [
        (TRANSDUCER, {}, TRANSDUCER),
        (BOTH, {}, ("encoder-epoch-9.int8.onnx", "decoder-epoch-9.onnx", "joiner-epoch-9.int8.onnx")),
        (BOTH, {"precision": "int8"}, (BOTH[1], BOTH[2], BOTH[5])),
        (BOTH, {"precision": "float"}, (BOTH[0], BOTH[2], BOTH[4])),
        (BOTH[1::2], {}, BOTH[1::2]),
        (("encoder.fp16.onnx", *TRANSDUCER), {}, TRANSDUCER),
    ],
)
def test_a_transducer_and_its_precision(
    sherpa_onnx: ModuleType,
    make_model: MakeModel,
    files: tuple[str, ...],
    options: dict[str, str],
    chosen: tuple[str, str, str],
) -> None:
    expected = dict(zip(PARTS, chosen, strict=True))
    assert loaded(sherpa_onnx, make_model(*files), **options) == ("from_transducer", expected)


def test_other_kinds_of_models(sherpa_onnx: ModuleType, tmp_path: Path) -> None:
    paraformer, ctc = tmp_path / "paraformer", tmp_path / "ctc"
    for directory, files in ((paraformer, ("encoder.onnx", "decoder.onnx")), (ctc, ("ctc.int8.onnx",))):
        directory.mkdir()
        for name in ("tokens.txt", *files):
            (directory / name).touch()
        (directory / "heard.json").write_text('{"tokens": []}')
    files = {"encoder": "encoder.onnx", "decoder": "decoder.onnx"}
    assert loaded(sherpa_onnx, paraformer) == ("from_paraformer", files)
    expected = ("from_zipformer2_ctc", {"model": "ctc.int8.onnx"})
    assert loaded(sherpa_onnx, ctc, ctc="zipformer2") == expected


@pytest.mark.parametrize(
    ("tokens", "expected"),
    [
        ("<blk> 0\n<unk> 1\n▁THE 2\nS 3\n", True),
        ("<blk> 0\n▁the 1\nS 2\n", False),
        ("", True),
        ("0\n\n▁É 1\n", True),
    ],
)
def test_whether_a_model_knows_capitals_only(tmp_path: Path, tokens: str, expected: bool) -> None:
    path = tmp_path / "tokens.txt"
    path.write_text(tokens)
    assert writes_capitals_only(path) is expected


def test_a_model_with_small_letters_keeps_its_capitals(
    sherpa_onnx: ModuleType, make_model: MakeModel
) -> None:
    loaded_model = load_recogniser(sherpa_onnx, make_model(tokens=[[" ECG", 0.2]]), {})
    (final,) = finals(listen(SherpaOnnxRecogniser(loaded_model, 16_000, lower=False), 1.0))
    assert [word.content for word in final.words] == ["ECG", "."]


# What is refused -------------------------------------------------------------------------------------


def refusal(options: dict[str, str]) -> str:
    with pytest.raises(LocalTranscribeError) as caught:
        PLUGIN.open(options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("files", "options", "reason"),
    [
        ((), {}, "tokens.txt is missing"),
        (("tokens.txt",), {}, r"encoder\*.onnx and decoder\*.onnx is missing"),
        (("tokens.txt", "encoder.onnx", "joiner.onnx"), {}, r"decoder\*.onnx is missing"),
        (
            ("tokens.txt", *BOTH[1::2]),
            {"precision": "float"},
            r"encoder\*.onnx and decoder\*.onnx is missing",
        ),
        (("tokens.txt", "encoder-a.onnx", *TRANSDUCER), {}, "leave one of encoder-a.onnx, encoder.onnx"),
        (("tokens.txt", "model.onnx"), {}, "--recogniser-option ctc=FAMILY, one of zipformer2, nemo"),
        ((), {"precision": "fp16"}, "precision=fp16: one of int8, float is needed"),
        ((), {"ctc": "kaldi"}, "ctc=kaldi: one of zipformer2, nemo, wenet, t-one is needed"),
        (("tokens.txt", *TRANSDUCER), {}, r"sherpa-onnx cannot load it \(RuntimeError: Load model"),
    ],
)
def test_a_wrong_directory_or_option_is_named_with_what_is_missing(
    sherpa_onnx: ModuleType, tmp_path: Path, files: tuple[str, ...], options: dict[str, str], reason: str
) -> None:
    for name in files:
        (tmp_path / name).touch()
    with pytest.raises(LocalTranscribeError, match=reason) as caught:
        PLUGIN.open({"model": str(tmp_path)} | options)
    assert "\n" not in str(caught.value)
    assert isinstance(caught.value, SpeechError) == (f"--model {tmp_path}:" in str(caught.value))


def test_no_directory_is_asked_for(sherpa_onnx: ModuleType, tmp_path: Path) -> None:
    assert refusal({}).startswith("--model DIR is needed: the directory with a streaming sherpa-onnx model")
    nowhere = tmp_path / "nowhere"
    assert f"--model {nowhere}: there is no such directory" in refusal({"model": str(nowhere)})


def test_a_missing_library_is_one_sentence_with_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sherpa_onnx", None)
    expected = "--recogniser sherpa-onnx needs the Python package sherpa-onnx: pip install sherpa-onnx"
    assert refusal({"model": "."}) == expected
