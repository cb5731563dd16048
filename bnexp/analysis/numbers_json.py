"""The numbers of an experiment as JSON, which has null for NaN and infinity."""

import json
from collections.abc import Mapping
from dataclasses import is_dataclass
from typing import Any

from bnexp.analysis.numbers import (
    NOTE,
    BiasGap,
    End,
    ExperimentNumbers,
    GradientShiftNumbers,
    Pair,
    PaperDistance,
    StatisticsCurve,
    VariantNumbers,
)
from bnexp.analysis.statistics import OverSeeds
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
    return ExperimentNumbers(
        content["experiment"],
        tuple(content["seeds"]),
        {name: _variant(each) for name, each in content["variants"].items()},
        tuple(
            Pair(each["norm"], each["plain"], _all(each["sooner"]), _all(each["settle_ratio"]))
            for each in content["pairs"]
        ),
        {name: PaperDistance(**_frozen(each)) for name, each in content["paper"].items()},
        tuple(BiasGap(tuple(each["variants"]), each["largest"]) for each in content["bias_gaps"]),
    )


def _variant(content: Mapping[str, Any]) -> VariantNumbers:
    made = dict(content)
    made["settings"], made["seeds"] = _frozen(made["settings"]), tuple(made["seeds"])
    made["measures"] = _all(made["measures"])
    for name, kind in (
        ("end", End),
        ("gradient_shift", GradientShiftNumbers),
        ("running_statistics", StatisticsCurve),
    ):
        made[name] = None if made[name] is None else kind(**_frozen(made[name]))
    return VariantNumbers(**made)


def _all(measures: Mapping[str, Mapping[str, Any]]) -> dict[str, OverSeeds]:
    return {
        name: OverSeeds(
            _number(each["mean"]),
            _number(each["low"]),
            _number(each["high"]),
            tuple(map(_number, each["per_seed"])),
        )
        for name, each in measures.items()
    }


def _frozen(content: Mapping[str, Any]) -> dict[str, Any]:
    return {key: frozen(value) for key, value in content.items()}


def _number(value: float | None) -> float:
    return float("nan") if value is None else float(value)
