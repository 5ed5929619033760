"""What the JVMs of the local Flink are started with."""

from __future__ import annotations

import pytest

from deploy.local import flink_jvm


@pytest.mark.parametrize(
    ("heap_mib", "collector"),
    [(0, "-XX:+UseSerialGC"), (384, "-XX:+UseSerialGC"), (1024, "-XX:+UseSerialGC"), (6208, "-XX:+UseG1GC")],
)
def test_a_large_heap_is_not_collected_while_the_world_stands_still(heap_mib: int, collector: str) -> None:
    assert [option for option in flink_jvm.options(heap_mib) if option.endswith("GC")] == [collector]


def test_jvms_start_quickly_unless_they_are_to_run_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(flink_jvm.FULL_JIT, raising=False)
    assert "-XX:TieredStopAtLevel=1" in flink_jvm.options()
    monkeypatch.setenv(flink_jvm.FULL_JIT, "1")
    assert "-XX:TieredStopAtLevel=1" not in flink_jvm.options()
