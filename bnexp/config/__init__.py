"""The experiment's YAML is read here: its keys and their meaning, and every mistake in it with its
place and, in `suggestions`, with "did you mean".

`schema` is the reference of the keys: type, allowed values, default and meaning of each. `rules`
holds what a value must keep beside its type, and `constraints` what several keys say together.
`parsing` turns YAML text, and an override on the command line, into typed values and notes every
mistake with its line, for which `nodes` reads the single value, and `suggestions` holds "did you
mean". `experiment` puts the values together to variants and grids; `serialization` writes them
back, and `sources` finds the config files. This room imports only `bnexp.errors`. Begin reading in
`schema`.

Other rooms import the names below from here.
"""

from bnexp.config.constraints import (
    KERNEL_NORMS,
    probe_examples,
    recorded_layers,
)
from bnexp.config.experiment import identical_variants, load, parse
from bnexp.config.rules import is_name
from bnexp.config.schema import (
    DATASET_SIZES,
    Activation,
    DataConfig,
    Experiment,
    ModelConfig,
    RecordConfig,
    Settings,
    Sizes,
    TrainConfig,
    Value,
    Variant,
    differences,
    flatten,
    settings_of,
)
from bnexp.config.serialization import dump
from bnexp.config.sources import copy_of, header, packaged
from bnexp.config.suggestions import did_you_mean, nearest, shorten, suggestion

__all__ = [
    "DATASET_SIZES",
    "KERNEL_NORMS",
    "Activation",
    "DataConfig",
    "Experiment",
    "ModelConfig",
    "RecordConfig",
    "Settings",
    "Sizes",
    "TrainConfig",
    "Value",
    "Variant",
    "copy_of",
    "did_you_mean",
    "differences",
    "dump",
    "flatten",
    "header",
    "identical_variants",
    "is_name",
    "load",
    "nearest",
    "packaged",
    "parse",
    "probe_examples",
    "recorded_layers",
    "settings_of",
    "shorten",
    "suggestion",
]
