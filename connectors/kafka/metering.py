"""The connector's metrics: Beam's, and the same value for the observers of this process."""

# Beam's own functions are untyped.
# mypy: disallow-untyped-calls=False

from __future__ import annotations

from apache_beam.metrics.metric import Metrics

from connectors.kafka.observers import tell


class Counter:
    """Counts for Beam and for `observers`; by Beam's thread."""

    def __init__(self, namespace: str, name: str) -> None:
        self._name = f"{namespace}.{name}"
        self._beam = Metrics.counter(namespace, name)

    def inc(self, value: int = 1, *labels: str) -> None:
        """Grow by `value`; `labels` are topic and partition, for counts that have them."""
        self._beam.inc(value)
        if value:
            tell(self._name, value, labels)


class Distribution:
    """A distribution for Beam and for `observers`; by Beam's thread."""

    def __init__(self, namespace: str, name: str) -> None:
        self._name = f"{namespace}.{name}"
        self._beam = Metrics.distribution(namespace, name)

    def update(self, value: int) -> None:
        """Add one value."""
        self._beam.update(value)
        tell(self._name, value)
