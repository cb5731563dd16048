"""What a loaded experiment offers: arrays, tables, figures and networks."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bnexp.analysis.comparison import MARGIN, compare
from bnexp.analysis.frames import comparison_frame, metrics_frame
from bnexp.analysis.numbers import ExperimentNumbers
from bnexp.analysis.numbers_json import to_json
from bnexp.analysis.results import ExperimentResults, read_experiment
from bnexp.analysis.runs import Run
from bnexp.analysis.summary import read_numbers
from bnexp.api.arguments import (
    PATH,
    TEXT,
    WHOLE,
    arguments_named,
    check,
    check_comparison,
    check_plot,
)
from bnexp.api.arrays import labelled
from bnexp.api.description import as_html, as_text
from bnexp.config import settings_of, suggestion
from bnexp.errors import ConfigError, StorageError
from bnexp.files.run_folder import MODEL

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr
    from matplotlib.figure import Figure
    from torch import nn


class Experiment:
    """An experiment on the disk; `load` makes one.

    Args:
        path: its folder.
        numbers: what is measured of it.
        results: its logs; `None` where they are gone, as in a published folder.
    """

    def __init__(
        self, path: Path, numbers: ExperimentNumbers, results: ExperimentResults | None
    ) -> None:
        self.path, self._numbers, self._results = path, numbers, results

    @property
    def name(self) -> str:
        """The experiment's."""
        return self._numbers.experiment

    @property
    def variants(self) -> tuple[str, ...]:
        """The names of its variants."""
        return tuple(self._numbers.variants)

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seeds of all variants."""
        return self._numbers.seeds

    @property
    def settings(self) -> Mapping[str, Mapping[str, object]]:
        """The settings of each variant, by dotted key such as `model.norm`."""
        return {name: each.settings for name, each in self._numbers.variants.items()}

    @property
    def summary(self) -> dict[str, Any]:
        """Every number, as summary.json has it; see the glossary in results/README.md."""
        return to_json(self._numbers)

    @property
    def problems(self) -> Mapping[str, str]:
        """What is wrong with variants of which a run cannot be read, by name."""
        return self._results.problems if self._results else {}

    @property
    def results(self) -> ExperimentResults:
        """The logs, as the commands read them.

        Raises:
            StorageError: the logs are not here.
        """
        # Where there are none, the reader says how they are made.
        return self._results or read_experiment(self.path)

    @property
    def probe(self) -> "xr.DataArray":
        """Percentiles over the probe: (variant, seed, step, percentile, unit), read when used.

        Raises:
            StorageError: no probe was recorded, or the logs are not here.
            ConfigError: the variants recorded different units, or have no seed in common.
        """
        return labelled(self.results, "probe")

    @property
    def minibatch(self) -> "xr.DataArray":
        """Percentiles over each step's minibatch: (variant, seed, step, percentile, unit).

        Raises:
            StorageError: none were recorded, or the logs are not here.
            ConfigError: the variants recorded different units, or have no seed in common.
        """
        return labelled(self.results, "minibatch")

    def sel(self, *variants: str) -> "Experiment":
        """The experiment with these variants alone.

        Raises:
            ConfigError: there is no variant of this name.
        """
        for name in variants:
            self._check(name)
        numbers, results = self._numbers, self.results
        measured = {name: numbers.variants[name] for name in variants}
        read = {name: each for name, each in results.variants.items() if name in variants}
        settings = {name: each for name, each in results.settings.items() if name in variants}
        return Experiment(
            self.path,
            replace(numbers, variants=measured, pairs=()),
            replace(results, variants=read, settings=settings),
        )

    @property
    def metrics(self) -> "pd.DataFrame":
        """A row for each variant, seed and evaluation: step, train_loss, test_accuracy, ...

        Raises:
            StorageError: the logs are not here.
        """
        return metrics_frame(self.results)

    @arguments_named()
    def compare(self, baseline: str | None = None, margin: float = MARGIN) -> "pd.DataFrame":
        """What `bnexp compare` prints, in full: a row for each variant and measure.

        Args:
            baseline: a variant, or `key=value` as in `model.gamma=false`; None: as the command.
            margin: within which two accuracies count as equivalent.

        Returns:
            Columns variant, baseline, measure, mean, low, high (ends of the 95 % t-interval),
            difference, difference_low, difference_high, p, p_holm, verdict. NaN where there is
            no such number.

        Raises:
            ConfigError: no variant is the baseline.
        """
        check_comparison(baseline, margin)
        return comparison_frame(compare([(self.path, self._numbers)], baseline, margin))

    @arguments_named()
    def plot(
        self,
        *,
        source: str | None = None,
        layer: int | None = None,
        unit: str | int = "typical",
        seed: int | None = None,
        width: float = 6.75,
    ) -> "Figure":
        """Draw it as Figure 1 of the paper; a notebook shows the figure.

        Args:
            source: `probe` or `batch`; None: the probe, where there is one.
            layer: hidden layer, counted from 1; None: the last.
            unit: `typical`, `all`, or a unit of the layer, counted from 0.
            seed: whose network; None: all of them, or the first for a given unit.
            width: of the figure, in inches, 2 to 20.

        Raises:
            ConfigError: there is no such source, layer, unit or seed.
            StorageError: there is nothing to draw.
        """
        check_plot(layer, unit, seed, width)
        from bnexp.figures import figure1
        from bnexp.figures.curves import Selection

        selection = Selection(source, layer, unit, seed)
        return figure1.draw(self.results, selection, width).figure

    @arguments_named()
    def network(self, variant: str, seed: int = 0) -> "nn.Sequential":
        """The trained network of a run, as a plain `torch.nn.Sequential` in evaluation mode.

        Raises:
            ConfigError: there is no such variant or seed.
            StorageError: the run is not finished, or its files are not here.
            DamagedError: its model.pt is damaged.
        """
        check("seed", seed, WHOLE, "a whole number")
        from bnexp.networks.trained import trained_network

        run = self._run(variant, seed)
        if run.status.state != "done":
            raise StorageError(
                f"{run.path}: the run is {run.status.state}; `bnexp train` finishes it"
            )
        if MODEL not in run.status.files:
            raise StorageError(
                f"{run.path}: bnexp.record watched this network, and did not keep it; load it from "
                "your own checkpoint"
            )
        return trained_network(
            settings_of(run.status.settings).model, run.path / MODEL, run.promised(MODEL)
        )

    def _run(self, variant: str, seed: int) -> Run:
        self._check(variant)
        found = self.results.variants.get(variant)
        for run in found.runs if found else ():
            if run.seed == seed:
                return run
        raise ConfigError(f"{variant}: seed {seed} was not trained")

    def _check(self, variant: str) -> None:
        check("variant", variant, TEXT, f"the name of one: {', '.join(self.variants)}")
        if variant not in self._numbers.variants:
            hint = suggestion(variant, self.variants) or f"; there are {', '.join(self.variants)}"
            raise ConfigError(f"{variant}: no such variant{hint}")

    def __repr__(self) -> str:
        return as_text(self.path, self._numbers, self._results)

    def _repr_html_(self) -> str:
        return as_html(self.path, self._numbers, self._results)


@arguments_named()
def load(path: str | Path) -> Experiment:
    """Load an experiment from its folder, such as `results/fig1`.

    A folder without logs, as those in results/published, offers `summary` and `compare` alone.

    Raises:
        StorageError: the folder holds no experiment.
        DamagedError: its config or summary is damaged.
    """
    check("path", path, PATH, "the folder of an experiment, such as 'results/fig1'")
    folder = Path(path)
    return Experiment(folder, *read_numbers(folder))
