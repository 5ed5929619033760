"""Under which name a registry keeps the schema of a topic's values, as Confluent's clients do. Pure."""

from __future__ import annotations

from schemas.errors import RegistrySettingError

TOPIC_NAME = "TopicNameStrategy"
TOPIC_RECORD_NAME = "TopicRecordNameStrategy"
STRATEGIES = (TOPIC_NAME, TOPIC_RECORD_NAME)


def subject_name(strategy: str, topic: str, record_name: str) -> str:
    """`TOPIC-value`, or `TOPIC-RECORD` with the record's full name."""
    return f"{topic}-{record_name}" if strategy == TOPIC_RECORD_NAME else f"{topic}-value"


def read_strategy(value: str, setting: str) -> str:
    """A strategy by its name or its Java class. Raises RegistrySettingError."""
    name = value.strip().rsplit(".", 1)[-1]
    if name not in STRATEGIES:
        raise RegistrySettingError(setting, f"{value!r} is not one of {', '.join(STRATEGIES)}")
    return name
