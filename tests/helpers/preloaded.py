"""All that commands and workers import, and the compiled kernels. No thread is started here.

Forks do not wait for the disk: being killed loses nothing that the system was given to write.
"""

import importlib
import os
from contextlib import suppress

from bnexp.networks.engine import numba_available

for name in (
    "torch",
    "torch._dynamo",  # which the first optimizer imports otherwise
    "bnexp.analysis.measuring",
    "bnexp.analysis.summary",
    "bnexp.cli.application",
    "bnexp.figures.experiment_figures",
    "bnexp.report.page",
    "bnexp.training.growth",
    "bnexp.training.readiness",
    "bnexp.training.run",
    "bnexp.training.scheduler",
):
    importlib.import_module(name)

os.fsync = lambda _: None

with suppress(ImportError):
    importlib.import_module("typer._adapters")  # pydantic, with which typer reads its words
with suppress(ImportError):
    importlib.import_module("dask.__main__")
    importlib.import_module("distributed.cli.dask_worker")

if numba_available():
    from bnexp.networks.kernels.warm_up import compile_kernels, is_compiled

    if is_compiled("float32"):
        compile_kernels("float32")
