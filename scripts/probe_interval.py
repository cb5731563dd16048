"""How the measures of drift depend on the interval between the rows of the probe.

    python scripts/probe_interval.py results/fig1 --out results/published/fig1/probe_interval.json

The probe's rows are thinned, as if `record.probe_every` had been larger, and measured again. Each
number is the mean over seeds of the median over the units of the last layer. The measures average
over windows of 2,000 steps, so fewer rows in a window leave more jitter in it. A
settle step is withheld (nan) where the jitter that is left could hide its tolerance.
"""

import argparse
from pathlib import Path

import numpy as np

from bnexp.analysis import drift
from bnexp.analysis.measuring import last_layer
from bnexp.analysis.results import read_experiment
from bnexp.analysis.variants import VariantResults
from bnexp.files.provenance import provenance
from bnexp.files.sealed import write_json

FACTORS = (1, 2, 5, 10)
MEASURES = ("settle_0.1", "settle_0.2", "end_width", "median_range", "width_range")


def measures(variant: VariantResults, factor: int) -> dict[str, float]:
    """The measures of a variant where only every `factor`-th row of its probe is known."""
    log = variant.probe
    if log is None:
        raise SystemExit(f"{variant.name}: no probe was recorded")
    steps, values = log.steps[::factor], log.values[::factor][..., last_layer(log)[1]]
    found = drift.unit_measures(steps, values, log.percentiles).by_name()
    return {name: float(np.median(found[name], axis=1).mean()) for name in MEASURES}


def main() -> None:
    """Measure every variant at every interval, print the changes, and write the numbers."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("experiment", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    words = parser.parse_args()
    found: dict[str, dict[str, dict[str, float]]] = {}
    for name, variant in read_experiment(words.experiment).variants.items():
        every = int(np.diff(variant.probe.steps[:2])[0]) if variant.probe else 0
        rows = {str(every * factor): measures(variant, factor) for factor in FACTORS}
        found[name] = rows
        first = rows[str(every)]
        for interval, row in rows.items():
            changes = (f"{key} {x:.4g} ({x / first[key] - 1:+.1%})" for key, x in row.items())
            print(f"{name}, every {interval} steps: {', '.join(changes)}")
    known = {
        name: {
            interval: {key: x if np.isfinite(x) else None for key, x in row.items()}
            for interval, row in rows.items()
        }
        for name, rows in found.items()
    }
    write_json(words.out, {"variants": known, "environment": provenance()})


if __name__ == "__main__":
    main()
