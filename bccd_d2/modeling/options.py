"""Options as keys of a config and back: a default stands in the dataclass alone.

A field ``min_area`` is the key ``MIN_AREA``; a field that is itself a dataclass is a group of keys;
None is written as 0.0, for a config holds no None.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from bccd_d2.masks.cell_types import TypeOptions
from bccd_d2.masks.classes import Classes

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

T = TypeVar("T", bound="DataclassInstance")


def keys_of(options: Any, leave_out: tuple[str, ...] = ()) -> dict[str, Any]:
    """The keys and values of a dataclass instance; groups as nested dicts.

    Args:
        leave_out: names of fields that have no key.
    """
    kept = [field.name for field in fields(options) if field.name not in leave_out]
    return {name.upper(): _plain(getattr(options, name)) for name in kept}


def _plain(value: Any) -> Any:
    if is_dataclass(value):
        return keys_of(value)
    return 0.0 if value is None else value


def nested(leaves: Mapping[str, Any]) -> dict[str, Any]:
    """Values by dotted key, such as ``MODEL.DENSE.SCORE``, as dicts within dicts."""
    whole: dict[str, Any] = {}
    for name, value in leaves.items():
        *groups, key = name.split(".")
        group = whole
        for part in groups:
            group = group.setdefault(part, {})
        group[key] = value
    return whole


def options_of(kind: type[T], keys: Mapping[str, Any]) -> T:
    """The dataclass ``kind`` with the values of ``keys``; keys of other names are passed over.

    Raises:
        ValueError: see the dataclass.
    """
    default = kind()
    given = {}
    for field in fields(default):
        if field.name.upper() not in keys:
            continue
        value, usual = keys[field.name.upper()], getattr(default, field.name)
        if is_dataclass(usual) and not isinstance(usual, type):
            value = options_of(type(usual), value)
        given[field.name] = None if usual is None and value == 0 else value
    return kind(**given)


def type_options(config: Mapping[str, Any]) -> TypeOptions:
    """How the cells that the model of a config, or of nested dicts, finds get types.

    Raises:
        ValueError: see `TypeOptions`.
    """
    return options_of(TypeOptions, config["MODEL"].get("TYPES", {}))


def classes_of(config: Mapping[str, Any]) -> Classes:
    """What the cells of the model of a config, or of nested dicts, may be.

    Raises:
        ValueError: see `Classes`; the message names the keys.
    """
    try:
        return options_of(Classes, config["MODEL"].get("CLASSES", {}))
    except ValueError as error:
        raise ValueError(f"MODEL.CLASSES: {error}") from error
