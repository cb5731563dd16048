"""Settings of small experiments on the digits, which take a moment to train."""

from dataclasses import replace

from bnexp.config import DataConfig, ModelConfig, RecordConfig, Settings, TrainConfig


def small_settings(**changes):
    """Digits, two hidden layers, 40 steps; `changes` as `section={key: value}`."""
    settings = Settings(
        DataConfig("digits", "unused"),
        ModelConfig((8, 6), norm="batch", bias=False, weight_std=0.3),
        TrainConfig(steps=40, batch_size=20, lr=0.5, checkpoint_every=15, device="cpu"),
        RecordConfig(layers="all", probe_size=50, probe_every=10, evaluate_every=7),
    )
    for section, keys in changes.items():
        settings = replace(settings, **{section: replace(getattr(settings, section), **keys)})
    return settings


class Reporter:
    """Listens to a run, and stops it after so many looks; None: never."""

    def __init__(self, stop_after=None):
        self.left, self.said, self.steps = stop_after, [], []

    def stop(self):
        """Whether the run is to stop."""
        if self.left is None:
            return False
        self.left -= 1
        return self.left <= 0

    def say(self, text):
        """Keep a line for the user."""
        self.said.append(text)

    def progress(self, *told):
        """Keep how far the run was: its plan, step, loss and accuracy."""
        self.steps.append(told)


class Listener:
    """Keeps what a user would be told of all runs."""

    def __init__(self):
        self.said, self.tally = [], None

    def say(self, text):
        """Keep a line for the user."""
        self.said.append(text)

    def update(self, tally):
        """Keep how far all runs are."""
        self.tally = tally


def go(plan, stop_after=None, made_with=None):
    """Do a run to its end, or stop it; what became of it, and what it said."""
    from bnexp.training.run import train

    reporter = Reporter(stop_after)
    return train([plan], made_with or {}, reporter), reporter.said


def read(plan):
    """The run as analysis reads it: a variant of one seed."""
    from bnexp.analysis.variants import read_variant

    return read_variant(plan.variant, [plan.folder])


_READ = {}  # what files of these bytes hold


def tensors(path):
    """What a file of tensors holds, read once for all files of the same bytes."""
    from bnexp.files import checkpoint

    if (content := path.read_bytes()) not in _READ:
        _READ[content] = checkpoint.load_tensors(path)
    return _READ[content]


def contents(folder):
    """Every byte of a run that must not depend on what happened on the way."""
    from bnexp.files import run_folder

    found = {
        name: (folder / name).read_bytes()
        for name in (*run_folder.LOGS, run_folder.PERCENTILES)
        if (folder / name).exists()
    }
    for key, value in tensors(folder / run_folder.CHECKPOINT)["arrays"].items():
        found[f"checkpoint/{key}"] = value.numpy().tobytes()
    for key, value in tensors(folder / run_folder.MODEL).items():
        found[f"model/{key}"] = value.numpy().tobytes()
    return found
