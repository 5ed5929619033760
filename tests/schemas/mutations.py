"""Broken bytes by the million: whatever a deserialiser is fed, it gives a record or an error of ours.

    python -m tests.schemas.mutations --count 1000000 --seed 7        (`make mutate`)

Records of every schema, in every wire format, are damaged by a seeded random: bits, bytes, pieces of other
records, numbers at their limits, cuts. The tests run a few thousand of them.
"""

from __future__ import annotations

import argparse
import copy
import json
import random
import sys
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import schemas
from schemas.errors import UndecodableRecord, UnknownSchemaId
from schemas.registry_serde import RegistrySerde
from schemas.serde import SingleObjectSerde
from schemas.wire import prefix
from tests.fakes.schema_registry import guid_of
from tests.schemas.avro_strategies import records_and_enums, witnesses

# Counts and lengths at the edges of what Avro's variable-length integers can say.
EDGES = [
    bytes.fromhex(edge)
    for edge in ("00", "01", "7f", "ffffffffffffffffff01", "feffffffffffffffff01", "80", "ffffffff0f")
]
Input = tuple[str, bytes, bytes | None]
"""Name of the schema, value, and the header `__value_schema_id`."""


class Registry:
    """Knows each schema of ours, and a newer version of it, by id and GUID."""

    def __init__(self) -> None:
        self.schemas: dict[int | UUID, Any] = {}
        for name in schemas.names():
            for schema in (schemas.load(name), newer(name)):
                self.schemas[len(self.schemas) // 2 + 1] = schema
                self.schemas[guid_of(json.dumps(schema))] = schema

    def id_of(self, subject: str, schema: Any) -> int:
        raise NotImplementedError

    register = id_of

    def schema_of(self, key: int | UUID) -> Any:
        if key not in self.schemas:
            raise UnknownSchemaId(str(key), "which nobody knows")
        return self.schemas[key]


def newer(name: str) -> dict[str, Any]:
    """A version of the schema with a field more in each record."""
    schema = copy.deepcopy(schemas.load(name))
    for number, part in enumerate(records_and_enums(schema)):
        if part["type"] == "record":
            part["fields"].insert(0, {"name": f"added_{number}", "type": ["null", "string"], "default": None})
    return schema


def whole_inputs(registry: Registry) -> list[Input]:
    """Good records of every schema and version in every form."""
    found: list[Input] = []
    for key, schema in registry.schemas.items():
        if isinstance(key, UUID):
            continue
        name = schemas.names()[(key - 1) // 2]
        guid = b"\x01" + guid_of(json.dumps(schema)).bytes
        for record in witnesses(schema)[:6]:
            value = SingleObjectSerde(schema).encode(record)
            body = value[10:]
            found += [(name, value, None), (name, prefix(key) + body, None)]
            found += [(name, guid + body, None), (name, body, guid)]
    return found


def mutated(inputs: list[Input], count: int, seed: int) -> Iterator[Input]:
    """`count` damaged inputs, the same for the same seed."""
    random_ = random.Random(seed)  # noqa: S311 - repeatable damage, no secret
    for _ in range(count):
        name, value, header = random_.choice(inputs)
        data = bytearray(value)
        for _ in range(random_.choice((1, 1, 1, 2, 3, 8))):
            _damage(data, random_, inputs)
        if header is not None and random_.random() < 0.1:
            header = header[: random_.randrange(18)] + random_.randbytes(random_.randrange(3))
        yield name, bytes(data), header


def _damage(data: bytearray, random_: random.Random, inputs: list[Input]) -> None:
    place = random_.randrange(len(data) + 1)
    match random_.randrange(7):
        case 0 if place < len(data):
            data[place] ^= 1 << random_.randrange(8)
        case 1 if place < len(data):
            data[place] = random_.randrange(256)
        case 2:
            del data[place:]
        case 3:
            del data[place : place + random_.randrange(1, 9)]
        case 4:
            data[place:place] = random_.randbytes(random_.randrange(1, 9))
        case 5:
            data[place : place + random_.randrange(4)] = random_.choice(EDGES)
        case _:
            other = random_.choice(inputs)[1]
            start = random_.randrange(len(other) + 1)
            data[place : place + random_.randrange(32)] = other[start : start + random_.randrange(64)]


def feed(count: int, seed: int) -> Counter[str]:
    """How `count` damaged inputs ended, by the name of the error; anything but UndecodableRecord is raised.

    Each goes to a serde of its schema with a registry, and to one without.
    """
    registry = Registry()
    with_registry = {name: RegistrySerde(name, registry) for name in schemas.names()}
    alone = {name: SingleObjectSerde(name) for name in schemas.names()}
    outcomes: Counter[str] = Counter()
    for name, value, header in mutated(whole_inputs(registry), count, seed):
        for serde in (with_registry[name], alone[name]):
            try:
                record = serde.decode(value, header)
            except UndecodableRecord as error:
                outcomes[type(error).__name__] += 1
                continue
            outcomes["a record"] += 1
            assert isinstance(record, dict)
    return outcomes


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.schemas.mutations")
    parser.add_argument("--count", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    started = time.monotonic()
    outcomes = feed(arguments.count, arguments.seed)
    seconds = time.monotonic() - started
    print(f"{arguments.count:,} inputs, seed {arguments.seed}, {seconds:.0f} s, nothing else was raised")
    for name, number in outcomes.most_common():
        print(f"{number:>12,} {name}")
    sys.exit(0)


if __name__ == "__main__":
    main()
