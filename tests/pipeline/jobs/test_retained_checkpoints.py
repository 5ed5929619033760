"""Which checkpoint a job is resumed from."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pipeline.errors import NoCheckpoint
from pipeline.jobs.retained_checkpoints import resume_path


def checkpoint(folder: Path, age_seconds: int = 0, *, complete: bool = True) -> Path:
    folder.mkdir(parents=True)
    if complete:
        file = folder / "_metadata"
        file.touch()
        moment = 1_772_348_400 - age_seconds
        os.utime(file, (moment, moment))
    return folder


def test_one_that_is_named_is_taken_by_path_or_uri(tmp_path: Path) -> None:
    folder = checkpoint(tmp_path / "with space" / "chk-7")
    assert resume_path(str(folder)) == resume_path(folder.as_uri()) == folder.as_uri()


def test_of_a_folder_the_newest_that_is_complete(tmp_path: Path) -> None:
    checkpoint(tmp_path / "job-1" / "chk-90", age_seconds=100)
    newest = checkpoint(tmp_path / "job-2" / "chk-9", age_seconds=10)
    checkpoint(tmp_path / "job-2" / "chk-8", age_seconds=20)
    checkpoint(tmp_path / "job-2" / "chk-10", complete=False)  # the worker died in its midst
    (tmp_path / "job-2" / "shared").mkdir()
    assert resume_path(str(tmp_path)) == newest.as_uri()
    assert resume_path(str(tmp_path / "job-2")) == newest.as_uri()


def test_where_there_is_none_one_is_told(tmp_path: Path) -> None:
    checkpoint(tmp_path / "job" / "chk-1", complete=False)
    with pytest.raises(NoCheckpoint, match=f"--resume-from: .*{tmp_path}"):
        resume_path(str(tmp_path))


@pytest.mark.parametrize("place", ["s3://bucket/checkpoints/job/chk-7", "hdfs://name/savepoints/savepoint-1"])
def test_what_lies_elsewhere_is_flinks_to_judge(place: str) -> None:
    assert resume_path(place) == place
