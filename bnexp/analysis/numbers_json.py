"""The numbers of an experiment as JSON, which has null for NaN and infinity."""

import json
from collections.abc import Mapping
from dataclasses import is_dataclass
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

from bnexp.analysis.numbers import NOTE, ExperimentNumbers
from bnexp.files.status import frozen


def jsonable(value: object) -> Any:
    """Dataclasses and mappings as dicts, tuples as lists, NaN and infinity as None."""
    return json.loads(json.dumps(value, default=_plain), parse_constant=lambda _: None)


def _plain(value: Any) -> Any:
    return vars(value) if is_dataclass(value) else value.tolist()


def to_json(numbers: ExperimentNumbers) -> dict[str, Any]:
    """The content of summary.json, but for the environment."""
    return {"note": NOTE, **jsonable(numbers)}


def from_json(content: Mapping[str, Any]) -> ExperimentNumbers:
    """The numbers that `to_json` wrote.

    Raises:
        KeyError, TypeError, AttributeError: it is something else.
    """
    hints = get_type_hints(ExperimentNumbers)
    return ExperimentNumbers(**{key: _read(hint, content[key]) for key, hint in hints.items()})


def _read(hint: Any, value: Any) -> Any:
    """What JSON holds, as a value of this type."""
    kind, inner = get_origin(hint), get_args(hint)
    if is_dataclass(hint):
        hints = get_type_hints(hint)
        return hint(**{key: _read(hints[key], each) for key, each in value.items()})  # type: ignore[operator]
    if kind is UnionType:  # of a type with None
        return None if value is None else _read(inner[0], value)
    if kind is Mapping:
        return {key: _read(inner[1], each) for key, each in value.items()}
    if kind is tuple:
        return tuple(_read(inner[0], each) for each in value)
    if hint is float:
        return float("nan") if value is None else float(value)
    return frozen(value)
