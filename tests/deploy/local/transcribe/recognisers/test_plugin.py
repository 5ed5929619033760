"""Recognisers by entry point: what is registered, what is refused, and how a plug-in of others is found."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from deploy.local.transcribe.errors import RecogniserError, ScriptError, SpeechError
from deploy.local.transcribe.recognisers.plugin import (
    RecogniserPlugin,
    describe_recognisers,
    load_library,
    load_plugin,
    open_recogniser,
    parse_options,
    read_count,
    read_directory,
)
from deploy.local.transcribe.recognition import InlineHost

OURS = ("markers", "pocketsphinx", "scripted", "sherpa-onnx", "vosk")
Install = Callable[[str, str], None]

ECHO = """
from deploy.local.transcribe.recognisers.plugin import RecogniserOption
from deploy.local.transcribe.recognition import InlineHost

class Plugin:
    summary = "says [nothing]"
    options = (RecogniserOption("word", "what it says"), RecogniserOption("voice", "low"))
    def open(self, options):
        self.opened = dict(options)
        return InlineHost(lambda request: None)

PLUGIN = Plugin()
"""
PLAIN = ECHO.replace('(RecogniserOption("word", "what it says"), RecogniserOption("voice", "low"))', "()")


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Installs a package with one recogniser: `install(name, text of its module)`."""
    monkeypatch.syspath_prepend(tmp_path)

    def install(name: str, source: str) -> None:
        (tmp_path / f"{name}_module.py").write_text(source)
        monkeypatch.delitem(sys.modules, f"{name}_module", raising=False)
        metadata = tmp_path / f"{name}-1.dist-info"
        metadata.mkdir()
        (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n")
        (metadata / "entry_points.txt").write_text(
            f"[medstream.recognisers]\n{name} = {name}_module:PLUGIN\n"
        )

    return install


def refusal(name: str, **options: str) -> str:
    with pytest.raises(RecogniserError) as caught:
        open_recogniser(name, options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("name", OURS)
def test_ours_are_registered_and_load_without_their_libraries(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for library in ("pocketsphinx", "vosk", "sherpa_onnx"):
        monkeypatch.setitem(sys.modules, library, None)
    plugin = load_plugin(name)
    assert isinstance(plugin, RecogniserPlugin)
    assert plugin.summary
    assert all(option.name and option.help for option in plugin.options)


def test_each_has_a_line_of_help(install: Install) -> None:
    install("plain", PLAIN)
    lines = {line.split(":")[0]: line for line in describe_recognisers()}
    assert set(lines) >= set(OURS)
    assert "(options: script)" in lines["scripted"]
    assert "options" not in lines["plain"]
    assert not [line for line in lines.values() if "\n" in line]


def test_an_unknown_name_is_refused_with_the_nearest_and_all_there_are() -> None:
    message = refusal("pocketsphnix")
    known = f"(did you mean pocketsphinx?); there are: {', '.join(OURS)}"
    assert message == f"--recogniser pocketsphnix: no such recogniser is installed {known}"
    assert "did you mean" not in refusal("zzz")


def test_a_recogniser_of_another_package_is_opened_with_its_options(install: Install) -> None:
    install("echo", ECHO)
    assert isinstance(open_recogniser("echo", {"word": "x"}), InlineHost)
    assert load_plugin("echo").opened == {"word": "x"}  # type: ignore[attr-defined]
    assert "echo: says [nothing] (options: word, voice)" in list(describe_recognisers())


def test_an_unknown_option_is_refused_with_the_nearest_and_all_there_are(install: Install) -> None:
    install("echo", ECHO)
    known = "word (what it says); voice (low)"
    expected = f"--recogniser echo has no option 'wrod' (did you mean word?); it has: {known}"
    assert refusal("echo", wrod="x") == expected
    install("plain", PLAIN)
    assert refusal("plain", lm="x") == "--recogniser plain has no option 'lm'; it has: none"


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        (
            "import no_such_one",
            "cannot be loaded (ModuleNotFoundError: No module named 'no_such_one')",
        ),
        ("PLUGINS = ()", "cannot be loaded (AttributeError: "),
        ("raise SystemError('x')", "cannot be loaded (SystemError: x)"),
        ("PLUGIN = object()", "is no plug-in, it must be an object with summary, options and open"),
        (ECHO.replace("Plugin()", "Plugin"), "is no plug-in, it must be an object"),
    ],
)
def test_a_plug_in_that_is_broken_is_named_and_leaves_the_help_alone(
    install: Install, source: str, reason: str
) -> None:
    install("broken", source)
    assert f"--recogniser broken: broken_module:PLUGIN {reason}" in refusal("broken")
    lines = list(describe_recognisers())
    assert "broken: cannot be loaded, choose it to see why" in lines
    assert len(lines) > len(OURS)


# What plug-ins are given ---------------------------------------------------------------------------


def test_options_are_keys_and_values() -> None:
    assert parse_options([]) == {}
    assert parse_options(["a=1", "b=x=y", "c="]) == {"a": "1", "b": "x=y", "c": ""}


@pytest.mark.parametrize("pairs", [["word"], ["=x"], ["a=1", "a=2"]])
def test_other_options_are_refused(pairs: list[str]) -> None:
    with pytest.raises(RecogniserError, match="--recogniser-option"):
        parse_options(pairs)


def test_a_count_is_a_whole_number_from_one_up() -> None:
    assert read_count({}, "workers", 8) == 8
    assert read_count({"workers": "3"}, "workers", 8) == 3
    for text in ("0", "-1", "1.5", "many", "", "²"):
        with pytest.raises(RecogniserError, match="workers"):
            read_count({"workers": text}, "workers", 8)


def test_a_directory_must_be_given_and_exist(tmp_path: Path) -> None:
    assert read_directory({"model": str(tmp_path)}, "model", "a model") == tmp_path
    for options in ({}, {"model": ""}, {"model": str(tmp_path / "nowhere")}):
        with pytest.raises(SpeechError, match=r"--model .*a model"):
            read_directory(options, "model", "a model")


def test_a_script_that_cannot_be_read_is_the_plug_in_s_own_error() -> None:
    with pytest.raises(ScriptError, match="--script /nowhere: No such file"):
        open_recogniser("scripted", {"script": "/nowhere"})


def test_pocketsphinx_names_the_package_it_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pocketsphinx", None)
    expected = "--recogniser pocketsphinx needs the Python package pocketsphinx: pip install pocketsphinx"
    assert refusal("pocketsphinx") == expected


def test_a_library_that_lacks_or_breaks_something_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "needs_more.py").write_text("import no_such_one")
    (tmp_path / "cannot_load.py").write_text("raise OSError('libspeech.so: cannot open')")
    with pytest.raises(RecogniserError, match="needs the Python package no_such_one: pip install"):
        load_library("x", "needs_more", "needs-more")
    with pytest.raises(RecogniserError, match=r"cannot-load does not load \(OSError: libspeech"):
        load_library("x", "cannot_load", "cannot-load")
