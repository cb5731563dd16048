"""Metrics and comparisons as tables of pandas, for the Python API and for export."""

import pandas as pd

from bnexp.analysis.comparison import NO_DIFFERENCE, Comparison
from bnexp.analysis.results import ExperimentResults
from bnexp.errors import StorageError
from bnexp.files.run_folder import METRICS, METRICS_COLUMNS

COMPARED = [
    "variant", "baseline", "measure", "mean", "low", "high",
    "difference", "difference_low", "difference_high", "p", "p_holm", "verdict",
]  # fmt: skip


def metrics_frame(results: ExperimentResults) -> pd.DataFrame:
    """A row for each variant, seed and evaluation: step, train_loss, test_accuracy, ...

    Raises:
        StorageError: no variant has metrics.
    """
    tables = []
    for variant in results.variants.values():
        for run in variant.runs:
            rows = pd.DataFrame(run.table(METRICS, METRICS_COLUMNS), columns=METRICS_COLUMNS)
            rows = rows.astype({"step": "int64"})
            rows.insert(0, "variant", variant.name)
            rows.insert(1, "seed", run.seed)
            tables.append(rows)
    if not tables:
        raise StorageError(f"{results.path}: no metrics yet; train it first")
    return pd.concat(tables, ignore_index=True)


def comparison_frame(comparison: Comparison) -> pd.DataFrame:
    """A row for each variant and measure, with the columns `COMPARED`.

    `mean`, `low` and `high` are the measure's mean and its 95 % t-interval over seeds; `difference`
    and its ends are the same of the paired difference from the baseline. NaN where there is no such
    number.
    """
    rows = []
    for row in comparison.rows:
        for name, over in row.numbers.measures.items():
            gap = row.differences.get(name, NO_DIFFERENCE)
            rows.append([
                row.label, row.baseline, name, over.mean, over.low, over.high,
                gap.over.mean, gap.over.low, gap.over.high, gap.p, gap.corrected, gap.verdict,
            ])  # fmt: skip
    return pd.DataFrame(rows, columns=COMPARED)
