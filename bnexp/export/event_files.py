"""Percentiles of single units, and the metrics, as scalars of TensorBoard.

Each run becomes one event file in a folder of its own, VARIANT/seed-N. TensorBoard's *Scalars* show
each percentile as a curve, and *Custom Scalars* show the percentiles of a unit in one chart, where
a band reaches from the lowest to the highest.

There is no histogram. TensorBoard draws one from counts in intervals that cover all values. Three
percentiles say how many values lie between them, but not how far the lowest and highest reach, and
nothing of the shape in between: the edges would be made up. The percentiles themselves are exact.
"""

import io
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import DATA_CLASS_SCALAR, Summary
from tensorboard.compat.proto.types_pb2 import DT_STRING
from tensorboard.plugins.custom_scalar import layout_pb2 as layouts
from tensorboard.summary.writer.record_writer import RecordWriter

from bnexp.analysis.distributions import middle
from bnexp.analysis.runs import Run
from bnexp.export.parts import Part
from bnexp.files.atomic import replacing
from bnexp.files.run_folder import METRICS, METRICS_COLUMNS

# TensorBoard looks for "tfevents" in the names of files.
EVENT_FILE = "events.out.tfevents.bnexp"


def write_run(path: Path, run: Run, parts: Sequence[Part], *, typical: bool) -> None:
    """Write the metrics of a run, and the percentiles of the chosen units.

    Args:
        path: the event file.
        run: whose metrics are written.
        parts: of this run.
        typical: whether the units are the typical ones of their layers, and are called so.

    Raises:
        OSError: the file cannot be written.
    """
    with replacing(path) as raw:
        file = io.BufferedWriter(raw)
        writer = RecordWriter(file)

        def write(step: int, **content: Any) -> None:
            event = Event(wall_time=_wall_time(run, step), step=step, **content)
            writer.write(event.SerializeToString())

        # The second version of the format keeps events of different tags in any order of steps.
        write(0, file_version="brain.Event:2")
        write(0, summary=_layout(parts, typical=typical))
        for step, *values in run.table(METRICS, METRICS_COLUMNS):
            named = dict(zip(METRICS_COLUMNS[1:], values, strict=True))
            measured = {f"metrics/{name}": x for name, x in named.items() if not np.isnan(x)}
            write(int(step), summary=_scalars(measured))
        for part in parts:
            tags = [_tag(part, i, q, typical=typical) for q, i in _curves(part)]
            told = {
                tag: _description(part, i, q)
                for tag, (q, i) in zip(tags, _curves(part), strict=True)
            }
            for step, row in _rows(part):
                write(step, summary=_scalars(dict(zip(tags, row, strict=True)), told))
                told = {}  # TensorBoard keeps what it was told first
        file.flush()
        file.detach()


def _wall_time(run: Run, step: int) -> float:
    """When the step was made, in seconds since 1970, as if all steps had taken equally long."""
    status = run.status
    left = max(status.step - step, 0) * (status.seconds_per_step or 0.0)
    return datetime.fromisoformat(status.heartbeat).timestamp() - left


def _curves(part: Part) -> list[tuple[float, int]]:
    """The percentile and the column of each curve, unit by unit."""
    return [(q, i) for i in part.columns.tolist() for q in part.log.percentiles]


def _rows(part: Part) -> Iterator[tuple[int, list[float]]]:
    """The step of each row, and its values in the order of `_curves`."""
    for steps, values in part.blocks():
        yield from zip(steps.tolist(), values.reshape(len(steps), -1).tolist(), strict=True)


def _group(part: Part, column: int, *, typical: bool) -> str:
    """What stands before the slash of a tag: TensorBoard shows these curves together."""
    layer = int(part.log.layer[column])
    name = part.log.names[layer - 1] if part.log.names else f"layer{layer}"
    return f"{part.source}.{name}.{'typical' if typical else f'unit{part.log.unit[column]}'}"


def _tag(part: Part, column: int, q: float, *, typical: bool) -> str:
    return f"{_group(part, column, typical=typical)}/P{q:.12g}"


def _description(part: Part, column: int, q: float) -> str:
    log = part.log
    size = f" ({log.examples:,} examples)" if part.source == "batch" else ""
    return (
        f"percentile {q:g} of unit {log.unit[column]} of layer {log.layer[column]}, over "
        f"{log.population}{size}"
    )


def _scalars(values: Mapping[str, float], told: Mapping[str, str] | None = None) -> Summary:
    """A summary of scalars by tag, with descriptions where they are given."""
    summary = Summary()
    for tag, x in values.items():
        value = summary.value.add(tag=tag, simple_value=x)
        if told:
            value.metadata.plugin_data.plugin_name = "scalars"
            value.metadata.data_class = DATA_CLASS_SCALAR
            value.metadata.summary_description = told[tag]
    return summary


def _layout(parts: Sequence[Part], *, typical: bool) -> Summary:
    """What *Custom Scalars* show: a chart for each unit, with a band around the middle curve."""
    categories = []
    for part in parts:
        q = part.log.percentiles
        charts = []
        for column in part.columns.tolist():
            low, value, high = (
                _tag(part, column, q[i], typical=typical) for i in (0, middle(q), len(q) - 1)
            )
            series = layouts.MarginChartContent.Series(value=value, lower=low, upper=high)
            margin = layouts.MarginChartContent(series=[series])
            title = _group(part, column, typical=typical)
            charts.append(layouts.Chart(title=title, margin=margin))
        categories.append(layouts.Category(title=f"percentiles, {part.source}", chart=charts))
    content = layouts.Layout(category=categories).SerializeToString()
    summary = Summary()
    value = summary.value.add(tag="custom_scalars__config__")
    value.metadata.plugin_data.plugin_name = "custom_scalars"
    value.tensor.dtype = DT_STRING
    value.tensor.string_val.append(content)
    value.tensor.tensor_shape.SetInParent()
    return summary
