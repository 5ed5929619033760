"""Watches the output topics while the demo runs: every record, decoded, with the moment a consumer had it.

One thread around one kafka-python consumer of finals, partials, ended sessions and dead letters. It starts at
the end of the topics, so a stack that was used before shows nothing old.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping

from deploy.local.demo.board import Event, RecordSeen, ThreadFailed
from schemas.serde import SingleObjectSerde

_POLL_MS = 200


class Watcher:
    """Calls `on_event` from a thread of its own, from `start` until `stop`."""

    def __init__(
        self, bootstrap_servers: str, schemas_by_topic: Mapping[str, str], on_event: Callable[[Event], None]
    ) -> None:
        self._bootstrap_servers = bootstrap_servers
        self._serdes = {topic: SingleObjectSerde(name) for topic, name in schemas_by_topic.items()}
        self._schema_names = dict(schemas_by_topic)
        self._on_event = on_event
        self._stopped = threading.Event()
        self._positioned = threading.Event()
        self._thread = threading.Thread(target=self._run, name="demo-watcher", daemon=True)

    def start(self) -> None:
        """Returns when every record written from now on will be seen."""
        self._thread.start()
        self._positioned.wait()

    def stop(self) -> None:
        """Idempotent; may be called before `start`."""
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        try:
            self._watch()
        except Exception as error:  # handed to the main thread, which ends the demo
            self._on_event(ThreadFailed("watcher", error))
        finally:
            self._positioned.set()

    def _watch(self) -> None:
        from kafka import KafkaConsumer, TopicPartition

        consumer = KafkaConsumer(
            bootstrap_servers=self._bootstrap_servers,
            client_id="medstream-demo-watcher",
            enable_auto_commit=False,
            isolation_level="read_committed",
        )
        try:
            partitions = [
                TopicPartition(topic, partition)
                for topic in self._serdes
                for partition in consumer.partitions_for_topic(topic) or ()
            ]
            consumer.assign(partitions)
            consumer.seek_to_end()
            for partition in partitions:
                consumer.position(partition)  # seeking is lazy; this does it now
            self._positioned.set()
            while not self._stopped.is_set():
                batches = consumer.poll(timeout_ms=_POLL_MS)
                seen_at = time.time()
                for partition, messages in batches.items():
                    for message in messages:
                        self._hand_over(partition.topic, message.value, seen_at)
        finally:
            consumer.close()

    def _hand_over(self, topic: str, value: bytes, seen_at: float) -> None:
        record = self._serdes[topic].decode(value)
        self._on_event(RecordSeen(self._schema_names[topic], seen_at, record))
