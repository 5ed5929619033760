"""Which wire format a job writes and reads, as one value that travels to the workers.

`SerdeSettings.writer` and `.reader` make the serdes: with a registry those of Confluent's wire format,
without one Avro single-object encoding.
"""

from __future__ import annotations

from dataclasses import dataclass

import schemas
from schemas.registry import SchemaRegistry, shared_registry
from schemas.registry_serde import RegistrySerde
from schemas.registry_settings import RegistrySettings
from schemas.serde import Serde, shared_serde
from schemas.subjects import TOPIC_NAME, subject_name


@dataclass(frozen=True, slots=True)
class SerdeSettings:
    """Picklable and hashable; secrets stay out of `repr`.

    `auto_register`: a writer registers a schema that its subject lacks, instead of refusing to write.
    """

    registry: RegistrySettings | None = None
    subject_name_strategy: str = TOPIC_NAME
    auto_register: bool = False

    def writer(self, schema_name: str, topic: str) -> Serde:
        """A serde for the values of `topic`. Raises UnknownSchema."""
        if self.registry is None:
            return shared_serde(schema_name)
        return RegistrySerde(
            schema_name,
            shared_registry(self.registry),
            self.subject(schema_name, topic),
            auto_register=self.auto_register,
        )

    def reader(self, schema_name: str) -> Serde:
        """A serde that reads records of the schema, whatever topic they are in. Raises UnknownSchema."""
        if self.registry is None:
            return shared_serde(schema_name)
        return RegistrySerde(schema_name, shared_registry(self.registry))

    def subject(self, schema_name: str, topic: str) -> str:
        """The subject under which the topic's schema is registered. Raises UnknownSchema."""
        schema = schemas.load(schema_name)
        return subject_name(self.subject_name_strategy, topic, f"{schema['namespace']}.{schema['name']}")

    def client(self) -> SchemaRegistry | None:
        """The registry's client of this process, if there is a registry."""
        return None if self.registry is None else shared_registry(self.registry)
