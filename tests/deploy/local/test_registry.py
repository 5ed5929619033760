"""What the local registry needs before it starts; tests/integration/test_schema_registry.py runs it."""

from __future__ import annotations

import tarfile
from pathlib import Path

import pytest

from deploy.local.jars import read_lock
from deploy.local.registry import REGISTRY_LOCK, SchemaRegistryServer, _unpacked


def test_the_lock_pins_one_archive() -> None:
    (archive,) = read_lock(REGISTRY_LOCK)
    assert archive.name.endswith("-all.tar.gz")
    assert len(archive.sha256) == 64


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    (tmp_path / "quarkus-run.jar").write_text("synthetic")
    path = tmp_path / "cache" / "registry-all.tar.gz"
    path.parent.mkdir()
    with tarfile.open(path, "w:gz") as files:
        files.add(tmp_path / "quarkus-run.jar", "quarkus-run.jar")
    return path


def test_an_archive_is_unpacked_once_and_whole(archive: Path) -> None:
    folder = _unpacked(archive)
    assert (folder / "quarkus-run.jar").read_text() == "synthetic"
    (folder / "mark").touch()
    assert _unpacked(archive) == folder
    assert (folder / "mark").exists()
    assert sorted(path.name for path in archive.parent.iterdir()) == ["registry-all", "registry-all.tar.gz"]


def test_a_broken_archive_leaves_no_folder_that_looks_whole(archive: Path) -> None:
    archive.write_bytes(archive.read_bytes()[:50])
    with pytest.raises((EOFError, tarfile.TarError)):
        _unpacked(archive)
    assert not archive.with_name("registry-all").exists()


def test_a_directory_keeps_its_address(tmp_path: Path) -> None:
    assert SchemaRegistryServer(tmp_path).url == SchemaRegistryServer(tmp_path).url
