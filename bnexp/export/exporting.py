"""`bnexp export`: what is written for which tool, and where."""

from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

from bnexp.analysis.frames import metrics_frame
from bnexp.analysis.results import ExperimentResults
from bnexp.config import suggestion
from bnexp.errors import ConfigError, StorageError
from bnexp.export.parts import SOURCES, ExportRequest, Part, parts_of
from bnexp.files.experiment_folder import CONFIG, EXPORT
from bnexp.files.locks import locked, storage_errors
from bnexp.files.run_folder import METRICS, MINIBATCH, PROBE, run_folder
from bnexp.files.status import STATUS

FORMATS = {"csv": "pyarrow", "parquet": "pyarrow", "tensorboard": "tensorboard"}  # their libraries
LOGS = {"probe": PROBE, "batch": MINIBATCH}


def export(
    results: ExperimentResults,
    to: str,
    request: ExportRequest,
    folder: Path | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> Iterator[Path]:
    """Write an experiment's logs in another tool's format.

    csv, parquet: `probe_percentiles`, `batch_percentiles` and `metrics`, each one file for all
    variants and seeds. tensorboard: one event file a run.

    Args:
        results: the experiment.
        to: one of `FORMATS`.
        request: which percentiles. For TensorBoard, a source of None means the probe's, or the
            minibatches' of a run without a probe.
        folder: where the files go; None: `export/` in the experiment's folder. Files of an earlier
            export are replaced.
        say: is told of each table before it is written.

    Returns:
        Writes a file whenever the next path is asked for. For TensorBoard there is one path: its
        log directory.

    Raises:
        ConfigError: no such format, source, layer or unit; or the format's library is missing.
        StorageError: there is nothing to export, or the files cannot be written.
    """
    if to not in FORMATS:
        hint = suggestion(to, FORMATS) or f"; there are {', '.join(FORMATS)}"
        raise ConfigError(f"--to {to}: no such format{hint}")
    if find_spec(FORMATS[to]) is None:
        raise ConfigError(
            f"--to {to}: needs {FORMATS[to]}, which is not installed; pip install {FORMATS[to]}"
        )
    chosen = parts_of(results, request)
    if not chosen:
        raise StorageError(f"{results.path}: nothing to export yet; train it first")
    folder = folder or results.path / EXPORT
    if (folder / STATUS).exists() or (folder / CONFIG).exists():
        # Its metrics.csv is the run's own.
        raise ConfigError(f"--out {folder}: holds a run or an experiment; give another folder")
    with storage_errors(folder), locked(folder):
        if to == "tensorboard":
            yield _event_files(results, chosen, request, folder / to)
        else:
            yield from _tables(results, chosen, folder, to, say)


def _tables(
    results: ExperimentResults,
    chosen: list[Part],
    folder: Path,
    to: str,
    say: Callable[[str], None],
) -> Iterator[Path]:
    from bnexp.export import arrow

    for source in SOURCES:
        some = [part for part in chosen if part.source == source]
        if some:
            path = (folder / LOGS[source]).with_suffix(f".{to}")
            say(f"{path.name}: {sum(part.rows for part in some):,} rows")
            arrow.write_percentiles(path, some)
            yield path
    path = (folder / METRICS).with_suffix(f".{to}")
    arrow.write_frame(path, metrics_frame(results))
    yield path


def _event_files(
    results: ExperimentResults, chosen: list[Part], request: ExportRequest, folder: Path
) -> Path:
    from bnexp.export import event_files

    for variant in results.variants.values():
        for run in variant.runs:
            some = [part for part in chosen if part.run.path == run.path]
            if request.source is None and len(some) > 1:
                some = [part for part in some if part.source == "probe"]
            path = run_folder(folder, variant.name, run.seed) / event_files.EVENT_FILE
            path.parent.mkdir(parents=True, exist_ok=True)
            event_files.write_run(path, run, some, typical=request.unit == "typical")
    return folder
