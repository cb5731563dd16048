"""Which variant each variant is compared with, unless the user says it."""

import math
from collections.abc import Mapping

from bnexp.analysis.formatting import cell, has_value
from bnexp.config import Value, suggestion
from bnexp.errors import ConfigError


def choose_baselines(
    rows: Mapping[str, Mapping[str, Value]], baseline: str | None = None
) -> dict[str, str]:
    """The label of the row that each row is compared with; itself for a baseline.

    Args:
        rows: by label, the settings in which the rows differ.
        baseline: a label; or `key=value`: each row's baseline is then the one with this value and
            all other settings equal. None: in a grid, the first value of its last setting that has
            two; else the first row.

    Raises:
        ConfigError: no row is the baseline.
    """
    settings = {
        label: {key: cell(value) for key, value in row.items()} for label, row in rows.items()
    }
    first = next(iter(rows))
    if baseline is None:
        values = {key: {each[key] for each in settings.values()} for key in settings[first]}
        pairs = [key for key, found in values.items() if len(found) == 2]
        different = {tuple(each.values()) for each in settings.values()}
        grid = len(different) == len(rows) == math.prod(map(len, values.values()))
        many = grid and len(values) > 1 and pairs
        baseline = f"{pairs[-1]}={settings[first][pairs[-1]]}" if many else first
    if baseline in rows:
        return dict.fromkeys(rows, baseline)
    key, _, text = baseline.partition("=")
    known = [row[key] for row in rows.values() if key in row]
    value = next((cell(each) for each in known if has_value(each, text)), text)
    labels = {tuple(each.items()): label for label, each in settings.items()}
    wanted = {label: tuple((each | {key: value}).items()) for label, each in settings.items()}
    found = {label: labels[other] for label, other in wanted.items() if other in labels}
    if len(found) < len(rows):
        raise ConfigError(f"--baseline {baseline}: {_mistake(baseline, settings)}")
    return found


def _mistake(baseline: str, settings: Mapping[str, Mapping[str, str]]) -> str:
    """What of a label, or of `key=value`, there is not."""
    near = suggestion(baseline, settings)
    key, equals, value = baseline.partition("=")
    if near or not equals:
        return "no such variant" + (near or f"; there are {', '.join(settings)}")
    keys = dict.fromkeys(key for each in settings.values() for key in each)
    if key not in keys:
        hint = suggestion(key, keys) or f"; there are {', '.join(keys)}"
        return f"the variants differ in no setting {key}{hint}"
    values = dict.fromkeys(each[key] for each in settings.values() if key in each)
    if value not in values:
        return f"no variant has this value; there are {', '.join(values)}"
    return "not every variant has a counterpart with this value"
