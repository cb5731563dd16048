"""Logs as CSV and as Parquet, in long format: a row for each step, unit and percentile."""

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
from numpy.typing import NDArray

from bnexp.export.parts import Part
from bnexp.files.atomic import replacing


def write_percentiles(path: Path, parts: Sequence[Part]) -> None:
    """Write percentiles with the columns variant, seed, step, layer, unit, percentile and value.

    Where a model of the user's own was recorded, the column layer_name follows layer.

    Args:
        path: ends in `.csv` or `.parquet`.
        parts: of one source.

    Raises:
        OSError: the file cannot be written.
    """
    named = any(part.log.names for part in parts)
    schema = pa.schema(
        [
            ("variant", pa.string()),
            ("seed", pa.int64()),
            ("step", pa.int64()),
            ("layer", pa.int32()),
            *([("layer_name", pa.string())] if named else []),
            ("unit", pa.int32()),
            ("percentile", pa.float64()),
            ("value", pa.float32()),
        ]
    )
    with _writer(path, schema) as writer:
        for part in parts:
            names = pa.array([None, *part.log.names], pa.string())
            for block in _blocks(part):
                size = len(block["value"])
                columns = block | {
                    "variant": pa.repeat(pa.scalar(part.variant), size),
                    "seed": pa.repeat(pa.scalar(part.run.seed, pa.int64()), size),
                }
                if named:
                    known = block["layer"] if part.log.names else np.zeros(size, np.int32)
                    columns["layer_name"] = names.take(pa.array(known))
                writer.write_batch(pa.record_batch(columns).select(schema.names).cast(schema))


def write_frame(path: Path, frame: pd.DataFrame) -> None:
    """Write a table; a cell without a value is empty in CSV, and null in Parquet.

    Raises:
        OSError: the file cannot be written.
    """
    table = pa.Table.from_pandas(frame, preserve_index=False)
    with _writer(path, table.schema) as writer:
        writer.write_table(table)


def _blocks(part: Part) -> Iterator[dict[str, NDArray[Any]]]:
    """The columns of the long format, some steps at a time."""
    layer, unit = (x[part.columns].astype(np.int32) for x in (part.log.layer, part.log.unit))
    q = np.array(part.log.percentiles, np.float64)
    for steps, values in part.blocks():
        yield {
            "step": np.repeat(steps, len(unit) * len(q)),
            "layer": np.tile(np.repeat(layer, len(q)), len(steps)),
            "unit": np.tile(np.repeat(unit, len(q)), len(steps)),
            "percentile": np.tile(q, len(steps) * len(unit)),
            "value": values.ravel(),
        }


@contextmanager
def _writer(path: Path, schema: Any) -> Iterator[Any]:
    """What writes batches and tables of this schema into the file."""
    with replacing(path) as raw:
        # A disk that is nearly full takes only a part of a write, which pyarrow would not notice.
        file = io.BufferedWriter(raw)
        if path.suffix == ".csv":
            writer = pyarrow.csv.CSVWriter(file, schema)
        else:
            writer = pyarrow.parquet.ParquetWriter(file, schema, compression="zstd")
        with writer:
            yield writer
        file.flush()
        file.detach()
