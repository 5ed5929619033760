"""Reading the service's JSON by field: what is absent or null has a default, a wrong type raises.

A field of a wrong type raises `TypeError` without its value, which could be transcript.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")


def each(read: Callable[[dict[str, Any]], T], values: Any) -> tuple[T, ...]:
    """Every object of a list, read; () for none."""
    if values is None:
        return ()
    if not isinstance(values, list):
        raise TypeError("not a list")
    return tuple([read(as_object(value)) for value in values])


def as_object(value: Any) -> dict[str, Any]:
    """The value, which has to be an object."""
    if not isinstance(value, dict):
        raise TypeError("not an object")
    return value


def text(value: dict[str, Any], name: str) -> str:
    """A text, empty for none."""
    found = value.get(name, "")
    return found if type(found) is str else text_or_none(value, name) or ""


def text_or_none(value: dict[str, Any], name: str) -> str | None:
    """A text, None for none."""
    found = value.get(name)
    if found is None or isinstance(found, str):
        return found
    raise TypeError("not a string")


def number(value: dict[str, Any], name: str) -> float:
    """A number, 0.0 for none."""
    found = value.get(name, 0.0)
    if type(found) is float:  # nearly always; results are read many times a second
        return found
    return number_or_none(value, name) or 0.0


def number_or_none(value: dict[str, Any], name: str) -> float | None:
    """A number, None for none."""
    found = value.get(name)
    if found is None:
        return None
    if isinstance(found, bool) or not isinstance(found, int | float):
        raise TypeError("not a number")
    return float(found)


def flag(value: dict[str, Any], name: str) -> bool:
    """A flag, False for none."""
    found = value.get(name)
    if found is None or isinstance(found, bool):
        return bool(found)
    raise TypeError("not a flag")
