"""The fixture `transcribe_endpoint` as another project's pytest has it: loaded by its entry point alone."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from deploy.local.transcribe import pytest_plugin

HEAVY = ("botocore", "connectors", "cryptography", "granian", "numpy", "psutil", "trustme", "typer")


def run_pytest(
    folder: Path, tests: str, *, ini: str = "", conftest: str = ""
) -> subprocess.CompletedProcess[str]:
    """Run `tests` in `folder`, with nothing of this repository's configuration."""
    (folder / "pytest.ini").write_text(f"[pytest]\n{textwrap.dedent(ini)}\n")
    (folder / "conftest.py").write_text(textwrap.dedent(conftest))
    (folder / "test_theirs.py").write_text(textwrap.dedent(tests))
    command = [sys.executable, "-P", "-m", "pytest", "-q", "-rfE", "--strict-markers", "--strict-config"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=90, check=False)


def assert_passed(run: subprocess.CompletedProcess[str], count: int) -> None:
    assert run.returncode == 0, run.stdout + run.stderr
    assert f"{count} passed" in run.stdout


def example() -> str:
    """The test that the plug-in's documentation shows."""
    blocks = [block for block in (pytest_plugin.__doc__ or "").split("\n\n") if block.startswith("    ")]
    code = textwrap.dedent("\n\n".join(blocks))
    return code[: code.index("@pytest.mark")]


def test_the_documented_example_runs(tmp_path: Path) -> None:
    assert_passed(run_pytest(tmp_path, example()), 1)


def test_one_endpoint_serves_the_session_and_tests_do_not_see_each_other(tmp_path: Path) -> None:
    tests = """
        import json, urllib.request, ssl

        seen = []

        def call(endpoint):
            context = ssl.create_default_context(cafile=endpoint.ca_file)
            with urllib.request.urlopen(endpoint.url + "/_local/faults", context=context) as answer:
                return json.load(answer)

        def test_first(transcribe_endpoint):
            transcribe_endpoint.inject({"kind": "reset"}, {"kind": "stall"})
            assert [rule["kind"] for rule in call(transcribe_endpoint)] == ["reset", "stall"]
            with transcribe_endpoint.process.event_log_path.open("a") as log:
                log.write('{"event": "final_sent"}\\n')
            assert transcribe_endpoint.events() == [{"event": "final_sent"}]
            seen.append(transcribe_endpoint.url)

        def test_second(transcribe_endpoint):
            assert [transcribe_endpoint.url] == seen
            assert call(transcribe_endpoint) == []
            assert transcribe_endpoint.events() == []
            assert transcribe_endpoint.environment() == {
                "AWS_ENDPOINT_URL_TRANSCRIBE_STREAMING": transcribe_endpoint.url,
                "AWS_ACCESS_KEY_ID": transcribe_endpoint.access_key_id,
                "AWS_SECRET_ACCESS_KEY": transcribe_endpoint.secret_access_key,
                "AWS_REGION": transcribe_endpoint.region,
                "AWS_DEFAULT_REGION": transcribe_endpoint.region,
                "AWS_CA_BUNDLE": str(transcribe_endpoint.ca_file),
                "NODE_EXTRA_CA_CERTS": str(transcribe_endpoint.ca_file),
                "SSL_CERT_FILE": str(transcribe_endpoint.ca_file),
            }
    """
    assert_passed(run_pytest(tmp_path, tests), 2)


def test_a_marker_starts_one_of_its_own(tmp_path: Path) -> None:
    tests = """
        import psutil, pytest

        def arguments(endpoint):
            return " ".join(psutil.Process(endpoint.process.pid).cmdline())

        own = pytest.mark.transcribe_endpoint(
            recogniser="markers", options=["--region", "eu-west-1", "--access-key-id=AKIDTHEIRS"], tls=False
        )

        @own
        def test_own(transcribe_endpoint, request):
            assert "_shared_transcribe_endpoint" not in request.fixturenames
            assert "--recogniser markers" in arguments(transcribe_endpoint)
            assert transcribe_endpoint.url.startswith("http://") and transcribe_endpoint.ca_file is None
            assert transcribe_endpoint.region == "eu-west-1"
            assert transcribe_endpoint.environment()["AWS_ACCESS_KEY_ID"] == "AKIDTHEIRS"
            transcribe_endpoint.inject({"kind": "reset"})

        def test_shared(transcribe_endpoint):
            assert "--recogniser scripted" in arguments(transcribe_endpoint)
            assert "--max-streams 3" in arguments(transcribe_endpoint)

        @pytest.mark.transcribe_endpoint(options=[])
        def test_own_with_the_configured_recogniser(transcribe_endpoint):
            assert "--recogniser scripted" in arguments(transcribe_endpoint)
            assert "--max-streams" not in arguments(transcribe_endpoint)
    """
    assert_passed(run_pytest(tmp_path, tests, ini="transcribe_endpoint_options = --max-streams 3"), 3)


def test_the_configuration_chooses_the_recogniser(tmp_path: Path) -> None:
    tests = """
        import psutil

        def test_chosen(transcribe_endpoint):
            assert "markers" in psutil.Process(transcribe_endpoint.process.pid).cmdline()
    """
    assert_passed(run_pytest(tmp_path, tests, ini="transcribe_endpoint_recogniser = markers"), 1)


def test_an_endpoint_that_a_test_killed_is_there_for_the_next(tmp_path: Path) -> None:
    tests = """
        urls = []

        def test_killer(transcribe_endpoint):
            urls.append(transcribe_endpoint.url)
            transcribe_endpoint.process.kill()

        def test_next(transcribe_endpoint):
            assert urls == [transcribe_endpoint.url]
            transcribe_endpoint.clear_faults()
    """
    assert_passed(run_pytest(tmp_path, tests), 2)


@pytest.mark.parametrize(
    ("arguments", "wrong"), [("'markers'", "'markers'"), ("recognizer='markers'", "recognizer")]
)
def test_a_misspelt_marker_is_explained(tmp_path: Path, arguments: str, wrong: str) -> None:
    tests = f"""
        import pytest

        @pytest.mark.transcribe_endpoint({arguments})
        def test_theirs(transcribe_endpoint): ...
    """
    run = run_pytest(tmp_path, tests)
    assert run.returncode == 1
    sentence = "is not understood; it takes the keywords recogniser, options, tls"
    assert f"@pytest.mark.transcribe_endpoint: {wrong} {sentence}" in run.stdout


def test_a_missing_extra_is_named(tmp_path: Path) -> None:
    conftest = "import sys; sys.modules['granian'] = None"
    run = run_pytest(tmp_path, "def test_theirs(transcribe_endpoint): ...", conftest=conftest)
    assert run.returncode == 1
    assert "transcribe_endpoint needs granian; install medstream[local]" in run.stdout


def test_a_run_that_does_not_use_the_fixture_loads_nothing_heavy(tmp_path: Path) -> None:
    tests = f"""
        import sys

        def test_theirs():
            assert "deploy.local.transcribe.pytest_plugin" in sys.modules
            assert not set(sys.modules) & set({HEAVY})
    """
    assert_passed(run_pytest(tmp_path, tests), 1)
