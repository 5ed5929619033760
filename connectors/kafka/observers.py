"""Who else in this process wants to hear what the Kafka connector counts, and of which partition.

Beam's metrics have no labels and leave the process by way of the runner. An observer hears the same values at
once, under the same names (`kafka_source.records`), with topic and partition where they are of one.
"""

from __future__ import annotations

from typing import Protocol


class Observer(Protocol):
    """Called by whatever thread counts; it must be quick and must not raise."""

    def __call__(self, name: str, value: float, labels: tuple[str, ...], /) -> None: ...


_observers: list[Observer] = []


def add_observer(observer: Observer) -> None:
    """Let `observer` hear everything from now on; once, however often it is added."""
    if observer not in _observers:
        _observers.append(observer)


def tell(name: str, value: float, labels: tuple[str, ...] = ()) -> None:
    """Tell every observer of one value of the metric `name`."""
    for observer in _observers:
        observer(name, value, labels)
