"""The command line as its users meet it: what is printed, where, and the exit code."""

import io
import json
import math
import re
import shutil
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
from helpers import warm
from PIL import Image

from bnexp.analysis import measuring, summary
from bnexp.analysis import results as reader
from bnexp.config import packaged
from bnexp.errors import RunError, StorageError
from bnexp.figures import experiment_figures
from bnexp.files import provenance, sealed
from bnexp.files.locks import HOLDER, LOCK
from bnexp.files.run_folder import (
    GRADIENT_SHIFT,
    NORM_PARAMETERS,
    PREVIOUS,
    RUN_FILES,
    RUNNING_STATISTICS,
    run_folder,
)
from bnexp.files.status import STATUS
from bnexp.training import jobs, plans, scheduler

ROOT = Path(__file__).parents[2]
CONFIG = """name: tiny
seeds: [0, 1, 2]
data: {name: digits}
model: {hidden: [8, 6], weight_std: 0.3}
train: {steps: 60, batch_size: 20, lr: 0.5}
record: {layers: all, probe_size: 50, probe_every: 10, evaluate_every: 20}
variants:
  baseline: {}
  batchnorm: {model: {norm: batch, bias: false}}
"""


# What one of these tests has made serves all of them.
pytestmark = pytest.mark.xdist_group("cli")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A trained experiment, its config, and what the command printed."""
    folder = tmp_path_factory.mktemp("trained")
    (folder / "tiny.yaml").write_text(CONFIG)
    command = warm.Command("train", "--config", "tiny.yaml", folder=folder)
    stdout, stderr = command.communicate()
    assert command.returncode == 0, stderr
    return folder / "results" / "tiny", SimpleNamespace(stdout=stdout, stderr=stderr)


def test_train_prints_the_table_on_stdout_and_talks_on_stderr(trained):
    """And leaves the files of the contract."""
    folder, done = trained
    assert re.search(r"^variant .*test accuracy", done.stdout, re.MULTILINE)
    assert "figure: results/tiny/figures/fig1.png" in done.stdout
    *progress, following, page = done.stderr.splitlines()
    assert following == "next: bnexp compare results/tiny"
    assert page == "page: bnexp report results/tiny"
    told = r"\d of 6 runs, [\d,]+ of 360 steps.*|compiling the kernels, once on this machine.*"
    assert all(re.fullmatch(told, line) for line in progress)
    wanted = {"config.yaml", "summary.json", "figures/fig1.png", "figures/norm_parameters.png"}
    wanted.add("train.log")
    for variant in ("baseline", "batchnorm"):
        missing = {GRADIENT_SHIFT, RUNNING_STATISTICS, PREVIOUS} | (
            {NORM_PARAMETERS} if variant == "baseline" else set()
        )
        for seed in (0, 1, 2):
            wanted |= {f"{variant}/seed-{seed}/{name}" for name in {*RUN_FILES} - missing}
    files = {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()}
    assert wanted <= files
    assert {name.rsplit("/", 1)[-1] for name in files - wanted} <= {LOCK, HOLDER, PREVIOUS}
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["environment"]["command"].endswith("train --config tiny.yaml")


def test_a_runs_error_is_told_even_if_the_figures_cannot_be_drawn(bnexp, trained, monkeypatch):
    """First what became of the runs, then of the figures, whose exit code it is."""

    def full(*_):
        raise StorageError("figures: no room")

    monkeypatch.setattr(scheduler, "train_experiment", lambda *_: [RunError("baseline: diverged")])
    monkeypatch.setattr(
        experiment_figures, "saved_figures", lambda *_: None
    )  # whatever an earlier test drew
    monkeypatch.setattr(experiment_figures, "save_figures", full)
    folder, _ = trained
    code, out, err = bnexp("train", "--config", folder / "config.yaml", "--out", folder)
    assert (code, out) == (4, "")
    assert err.splitlines() == ["bnexp: baseline: diverged", "bnexp: figures: no room"]


@pytest.mark.usefixtures("undrawn")
def test_a_figure_that_could_not_be_drawn_is_drawn_by_the_same_command(
    bnexp, trained, tmp_path, monkeypatch
):
    """Where the disk is full after the first of two, the second is not left as it was before."""
    folder, made_with = tmp_path / "tiny", {"versions": {}, "git_commit": "1234567"}
    shutil.copytree(trained[0], folder)
    monkeypatch.setattr(summary, "provenance", lambda: made_with)  # a tree without changes
    words = "train", "--config", folder / "config.yaml", "--out", folder, "train.steps=80"
    save, saved = experiment_figures.save, []

    def full_after_one(*arguments, **options):
        if saved:
            raise StorageError("figures: no room")
        saved.extend(save(*arguments, **options))
        return saved

    monkeypatch.setattr(experiment_figures, "save", full_after_one)
    assert bnexp(*words)[0] == 4
    before = contents_of(folder / "figures")
    monkeypatch.setattr(experiment_figures, "save", save)
    assert bnexp(*words)[0] == 0
    after = contents_of(folder / "figures")
    assert [name for name in after if after[name] != before[name]] == ["norm_parameters.png"]
    assert bnexp(*words)[0] == 0
    assert contents_of(folder / "figures") == after


def contents_of(folder):
    """The files in a folder."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize(
    ("words", "written"),
    [
        (".", ["fig1.png"]),
        ("mine", ["mine.png"]),
        ("mine.v2", ["mine.v2.png"]),
        ("mine.svg", ["mine.svg"]),
        ("mine.svg --format pdf,svg", ["mine.pdf", "mine.svg"]),
    ],
)
def test_a_figure_goes_into_a_folder_or_to_a_path_whose_suffix_names_its_format(
    bnexp, trained, tmp_path, words, written
):
    """As users of any drawing program expect."""
    out, *options = words.split()
    assert bnexp("plot", trained[0], "--out", tmp_path / out, *options)[0] == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == written


def test_the_resolved_config_repeats_the_experiment(trained, bnexp, monkeypatch):
    """`train --config results/tiny/config.yaml` finds everything done."""
    folder, _ = trained
    monkeypatch.chdir(folder.parents[1])
    code, _, err = bnexp("train", "--config", folder / "config.yaml")
    assert code == 0
    assert "6 of 6 runs done already" in err


def test_dry_run_prints_the_resolved_yaml_and_runs_nothing(bnexp, tmp_path, monkeypatch):
    """Overrides are in it, and what would run is on stderr."""
    monkeypatch.chdir(tmp_path)
    code, out, err = bnexp("train", "--config", "quickstart", "train.steps=7", "--dry-run")
    assert code == 0
    assert "  steps: 7\n" in out
    assert "would train results/quickstart/baseline: 3 runs of 7 steps" in err
    assert list(tmp_path.iterdir()) == []


def test_dry_run_says_what_is_done_and_refuses_what_training_would_refuse(bnexp, trained, tmp_path):
    """Of runs that are there, as `train` would find them; `--restart` would make all anew."""
    words = ["train", trained[0] / "config.yaml", "--out", trained[0], "--dry-run"]
    code, _, err = bnexp(*words)
    assert code == 0
    assert err == "6 of 6 runs done already\n"
    err = bnexp(*words, "seeds=4", "train.steps=70")[2]
    assert "baseline: 4 runs of 70 steps" in err
    assert "done already" not in err
    assert "baseline: 3 runs of 60 steps" in bnexp(*words, "--restart")[2]
    code, out, err = bnexp(*words, "train.lr=0.3")
    assert (code, out) == (2, "")
    assert "holds results of another config (train.lr: " in err
    (tmp_path / "file").touch()
    words = ["train", "quickstart", "--out", tmp_path / "file"]
    code, _, err = bnexp(*words, "--dry-run")
    assert (code, err) == (4, bnexp(*words)[2])
    assert err.startswith(f"bnexp: {tmp_path / 'file'}: a file, where a folder is needed.\n")


def test_a_mistake_in_a_config_is_located_and_nothing_is_written(bnexp, tmp_path, monkeypatch):
    """Exit 2, and every mistake at once."""
    monkeypatch.chdir(tmp_path)
    Path("x.yaml").write_text(CONFIG.replace("lr:", "lrr:").replace("steps: 60", "steps: -1"))
    code, out, err = bnexp("train", "--config", "x.yaml")
    assert (code, out) == (2, "")
    assert "x.yaml:5:" in err
    assert "did you mean 'lr'?" in err
    assert "train.steps" in err
    assert not Path("results").exists()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_output_that_finds_no_room_is_one_line_and_exit_4(trained):
    """Such as a redirection to a full disk."""
    folder, _ = trained
    with Path("/dev/full").open("w") as full:
        command = [sys.executable, "-m", "bnexp", "compare", folder, "--json"]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 4
    assert done.stderr == "bnexp: standard output: No space left on device\n"


def test_missing_data_is_two_lines_and_exit_3(bnexp, tmp_path, monkeypatch):
    """With the four files, where they belong, and the config that needs no download."""
    from bnexp.data import idx

    def refuse(*_, **__):
        raise OSError("no network")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(idx, "urlopen", refuse)
    code, _, err = bnexp("train", "--config", "fig1", f"data.root={tmp_path / 'none'}")
    assert code == 3
    assert len(err.strip().splitlines()) == 2
    assert "train-images-idx3-ubyte" in err
    assert "quickstart" in err


@pytest.mark.parametrize(
    ("words", "names"),
    [
        ([], ["fig1.png"]),
        (
            ["--unit", "all", "--format", "png,pdf,svg"],
            ["fig1_all.png", "fig1_all.pdf", "fig1_all.svg"],
        ),
        (["--source", "batch", "--unit", "3", "--layer", "1"], ["fig1_batch_layer1_unit3.png"]),
    ],
)
def test_plot_draws_from_the_files_alone(trained, bnexp, words, names):
    """Twice the same bytes, and the paths on stdout."""
    folder, _ = trained
    code, out, _ = bnexp("plot", folder, *words)
    assert code == 0
    paths = [folder / "figures" / name for name in names]
    assert out.split() == [str(path) for path in paths]
    first = [path.read_bytes() for path in paths]
    bnexp("plot", folder, *words)
    assert [path.read_bytes() for path in paths] == first


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (["--layer", "3"], 2, "--layer 3: not recorded; there is layer 1, 2"),
        (["--unit", "6"], 2, "--unit 6: no such unit; give typical, all, or 0 to 5"),
        (["--source", "test"], 2, "--source test: no such source; there are probe, batch"),
        (["--format", "bmp"], 2, "--format bmp: no such format; there are png, pdf, svg"),
        (
            ["--out", "x.jpg"],
            2,
            "--out x.jpg: its suffix names no format; there are .png, .pdf, .svg, .gif, .mp4",
        ),
        (
            ["--out", "x.pdf", "--format", "png"],
            2,
            "--out x.pdf, --format png: two formats; give one of them",
        ),
    ],
)
def test_plot_refuses_what_is_not_there(trained, bnexp, words, code, text):
    """One line each."""
    folder, _ = trained
    assert bnexp("plot", folder, *words) == (code, "", f"bnexp: {text}\n")


def test_plot_draws_another_figure_that_suits_the_experiment_at_a_columns_width(
    trained, bnexp, tmp_path
):
    """With the command that draws it in the file; one that does not fit, or a unit, is refused."""
    folder, _ = trained
    out = tmp_path / "gamma_beta"
    drawn = ("plot", folder, "--figure", "norm_parameters", "--width", 3.25, "--out", out)
    code, printed, err = bnexp(*drawn)
    assert (code, printed) == (0, f"{out}.png\n")
    assert "beta + z gamma" in err
    with Image.open(f"{out}.png") as image:
        assert image.size[0] <= 3.25 * 220
        source = image.info["Source"]
    assert source.endswith("bnexp plot results/tiny --figure norm_parameters --width=3.25")
    code, _, err = bnexp("plot", folder, "--figure", "grid")
    assert (code, err.partition(";")[0]) == (
        2, "bnexp: --figure grid: does not fit this experiment"
    )  # fmt: skip
    code, _, err = bnexp("plot", folder, "--figure", "norm_parameters", "--unit", "all")
    assert (code, err[:30]) == (2, "bnexp: --figure norm_parameters"[:30])


def test_a_figure_names_the_command_that_draws_it(trained, bnexp, tmp_path):
    """With the options that say what is drawn, and not with those that say where it goes."""
    folder, _ = trained
    words = ("--source", "batch", "--layer", "1", "--unit", "all", "--seed", "0")
    out = tmp_path / "x.png"
    assert bnexp("plot", folder, *words, "--out", out)[0] == 0
    with Image.open(out) as image:
        command = image.info["Source"].partition(", bnexp plot results/tiny ")[2]
    assert command == "--source=batch --layer=1 --seed=0 --unit=all"
    again = tmp_path / "again.png"
    assert bnexp("plot", folder, *command.split(), "--out", again)[0] == 0
    assert again.read_bytes() == out.read_bytes()


def test_compare_draws_a_heat_map_of_a_measure(trained, bnexp):
    """The picture goes to the experiment's figures, and its path alone to stdout."""
    folder, _ = trained
    path = folder / "figures" / "heatmap_train_loss.png"
    code, out, err = bnexp("compare", folder, "--heatmap", "train_loss")
    assert (code, out) == (0, f"{path}\n")
    assert err.startswith("Training loss, averaged over the last 12 steps: mean over 3 seeds")
    with Image.open(path) as image:
        assert image.info["Source"].endswith("--heatmap train_loss")


def test_a_heat_map_of_an_unknown_measure_is_refused_with_a_suggestion(trained, bnexp):
    """The nearest measure of the comparison is named."""
    folder, _ = trained
    code, out, err = bnexp("compare", folder, "--heatmap", "trainloss")
    assert (code, out) == (2, "")
    assert "trainloss: no such measure; did you mean 'train_loss'?" in err


def test_compare_has_one_form_at_a_time(trained, bnexp):
    """Two forms in one call are refused."""
    folder, _ = trained
    code, out, err = bnexp("compare", folder, "--json", "--heatmap", "train_loss")
    assert (code, out) == (2, "")
    assert err == "bnexp: --json, --csv, --markdown, --heatmap: give one of them\n"


@pytest.mark.usefixtures("undrawn")
def test_plot_draws_the_minibatches_where_there_is_no_probe(bnexp, tmp_path, monkeypatch):
    """The command that `train` names next draws what was recorded."""
    monkeypatch.chdir(tmp_path)
    Path("tiny.yaml").write_text(CONFIG.replace("probe_every: 10", "probe_every: null"))
    assert bnexp("train", "--config", "tiny.yaml", "seeds=1")[0] == 0
    path = Path("results/tiny/figures/fig1.png")
    path.unlink()
    assert bnexp("plot", "results/tiny")[:2] == (0, f"{path}\n")
    assert path.is_file()


def test_plot_goes_where_it_is_told_at_the_width_that_it_is_told(trained, bnexp, tmp_path):
    """The caption is said; with --caption it is in the picture too, which is then higher."""
    folder, _ = trained
    sizes = []
    for words in ([], ["--caption"]):
        stem = tmp_path / f"mine{len(words)}"
        code, out, err = bnexp("plot", folder, "--out", stem, "--width", "3.25", *words)
        assert (code, out) == (0, f"{stem}.png\n")
        assert err.startswith("Percentiles 15, 50, 85 of the pre-activation")
        with Image.open(f"{stem}.png") as image:
            sizes.append(image.size)
    (width, height), (same, higher) = sizes
    assert width == same == round(3.25 * 220)
    assert higher > height


@pytest.mark.usefixtures("undrawn")
def test_plot_draws_the_network_of_a_seed(trained, bnexp):
    """Its name is in the file's; a seed that was not trained is refused."""
    folder, _ = trained
    code, out, _ = bnexp("plot", folder, "--seed", "2")
    assert (code, out) == (0, f"{folder / 'figures' / 'fig1_seed2.png'}\n")
    code, out, err = bnexp("plot", folder, "--seed", "9")
    assert (code, out, err) == (2, "", "bnexp: --seed 9: not trained; there is 0, 1, 2\n")


def test_published_results_are_compared_without_their_logs(trained, bnexp, tmp_path):
    """A folder with nothing but summary.json gives the same table; the margin is the user's."""
    folder, _ = trained
    shutil.copy(folder / "summary.json", tmp_path)
    assert bnexp("compare", tmp_path) == bnexp("compare", folder)
    assert "equivalent means within 0.9," in bnexp("compare", tmp_path, "--margin", "0.9")[1]
    code, _, err = bnexp("plot", tmp_path)
    assert code == 4
    assert "bnexp train" in err


def test_runs_of_a_folder_that_is_not_there_is_exit_4(bnexp, tmp_path):
    """The error says how such a folder comes to be."""
    folder = tmp_path / "nowhere"
    code, out, err = bnexp("runs", folder)
    assert (code, out) == (4, "")
    assert err == f"bnexp: {folder}: no such folder; `bnexp train` makes one, as results/NAME\n"


def test_runs_of_an_empty_folder_says_that_there_are_none(bnexp, tmp_path):
    """This is no error, and stdout stays empty."""
    code, out, err = bnexp("runs", tmp_path)
    assert (code, out) == (0, "")
    assert err.startswith(f"{tmp_path}: no runs here; ")


def test_a_config_is_understood_with_and_without_its_option(bnexp, tmp_path, monkeypatch):
    """`bnexp train fig1 KEY=VALUE` is `bnexp train --config fig1 KEY=VALUE`."""
    monkeypatch.chdir(tmp_path)
    with_option = bnexp("train", "--config", "fig1", "train.steps=7", "--dry-run")
    assert bnexp("train", "fig1", "train.steps=7", "--dry-run") == with_option
    assert with_option[0] == 0
    assert "  steps: 7\n" in with_option[1]


def test_train_without_a_config_says_how_to_name_one(bnexp):
    """It is a mistake of usage."""
    code, out, err = bnexp("train")
    assert (code, out) == (2, "")
    assert err == "bnexp: train: which config? `bnexp train --config quickstart` is a start\n"


def test_debug_shows_the_traceback_and_changes_neither_the_text_nor_the_exit_code(bnexp):
    """Also of a command that is misused."""
    for words in (["compare", "/no/such/experiment"], ["plot", "--no-such-option"]):
        code, out, err = bnexp(*words)
        debugged = bnexp("--debug", *words)
        assert code in {2, 4}
        assert debugged[:2] == (code, out)
        assert debugged[2].startswith("Traceback")
        assert debugged[2].endswith(err)


@pytest.mark.parametrize("words", [[], ["train"], ["plot"], ["compare"], ["configs"]])
def test_h_is_help(bnexp, words):
    """It prints what --help prints."""
    short = bnexp(*words, "-h")
    assert short == bnexp(*words, "--help")
    assert short[0] == 0
    assert "Usage: bnexp" in short[1]


@pytest.mark.parametrize("command", ["train", "plot", "compare", "export", "runs", "validate"])
def test_help_names_no_type_of_python(bnexp, command):
    """An argument is described by its name and a sentence, not by `<list[Path]>`."""
    assert not re.search(r"<\w+(\[\w+\])?>", bnexp(command, "--help")[1])


def piped(words, reader):
    """Exit code, what the reader got, and stderr of bnexp in a pipe whose other end closes."""
    command = [sys.executable, "-m", "bnexp", *map(str, words)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        got = reader(process.stdout)
        process.stdout.close()
        err = process.stderr.read()
    return process.returncode, got, err


@pytest.mark.parametrize("words", [["configs"], ["--help"], ["--version"], ["validate", "fig1"]])
def test_a_pipe_that_is_closed_at_once_is_no_error(words):
    """As in `bnexp configs | true`: exit 0 and not a word, although the text was only buffered."""
    assert piped(words, lambda _: None) == (0, None, b"")


def test_a_pipe_that_is_closed_after_a_line_is_no_error():
    """As in `bnexp verify | head -1`: the command ends when it prints the next lines."""
    command = warm.Command("verify")
    line = command.stdout.readline()
    command.stdout.close()
    _, err = command.communicate()
    assert line.startswith("holds       1  ")
    assert (command.returncode, err) == (0, "")


def test_a_mistake_keeps_its_exit_code_where_nobody_reads_its_text():
    """As in `bnexp validate nope 2>&1 | true`."""
    command = [sys.executable, "-m", "bnexp", "validate", "nope"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        process.stdout.close()
    assert process.returncode == 2


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_short_output_that_finds_no_room_is_one_line_and_exit_4():
    """Also where it was only buffered when the command ended."""
    command = [sys.executable, "-m", "bnexp", "configs"]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 4
    assert done.stderr == "bnexp: standard output: No space left on device\n"


def test_a_folder_without_an_experiment_is_exit_4(bnexp, tmp_path):
    """It says what is missing."""
    code, _, err = bnexp("plot", tmp_path)
    assert code == 4
    assert "no experiment here (config.yaml is missing)" in err


def test_runs_lists_state_step_and_accuracy(trained, bnexp):
    """One line a run."""
    folder, _ = trained
    code, out, _ = bnexp("runs", folder.parent)
    lines = out.splitlines()
    assert code == 0
    assert len(lines) == 7
    assert re.search(r"baseline +0 +done +60/60 +0\.\d{4}", lines[1])


def test_runs_are_chosen_by_their_settings(trained, bnexp):
    """Numbers by value and lists whatever their spaces; the count is on stderr, stdout is data."""
    folder, _ = trained
    words = ("runs", folder, "model.norm=batch", "train.lr=0.50", "model.hidden=[8,6]")
    code, out, err = bnexp(*words)
    assert code == 0
    assert [line.split()[1] for line in out.splitlines()[1:]] == ["batchnorm"] * 3
    assert err == "3 runs: 3 done\n"
    assert bnexp("runs", folder, "model.gamma=false")[1:] == ("", f"{folder}: no such runs here\n")
    code, _, err = bnexp("runs", folder, "model.nrm=batch")
    assert code == 2
    assert "no run there has such a setting; did you mean 'model.norm'?" in err
    assert bnexp("runs", folder, "batch")[0] == 2


def test_runs_lists_failures_with_their_causes(trained, bnexp, tmp_path):
    """In a column that is there only where a run has failed."""
    shutil.copytree(trained[0], tmp_path / "tiny")
    path = run_folder(tmp_path / "tiny", "baseline", 1) / STATUS
    told = {"state": "failed", "error": "baseline, seed 1: the loss is not finite at step 9"}
    sealed.write_sealed(path, {**sealed.read_sealed(path), **told})
    code, out, err = bnexp("runs", tmp_path, "--state", "failed")
    assert code == 0
    assert len(out.splitlines()) == 2
    assert out.rstrip().endswith(" the loss is not finite at step 9")
    assert err == "1 run: 1 failed\n"
    assert "cause" not in bnexp("runs", tmp_path, "--state", "done")[1]
    assert bnexp("runs", tmp_path)[2] == "6 runs: 5 done, 1 failed\n"
    code, _, err = bnexp("runs", tmp_path, "--state", "faild")
    assert (code, err) == (2, "bnexp: --state faild: no such state; did you mean 'failed'?\n")


def test_a_watch_says_when_the_counts_change_and_ends_with_ctrl_c(trained, bnexp, monkeypatch):
    """Without a terminal it is a line each time, and the end is no error."""
    import time

    looks = iter([None, None, KeyboardInterrupt()])

    def sleep(_):
        if (end := next(looks)) is not None:
            raise end

    monkeypatch.setattr(time, "sleep", sleep)
    code, out, _ = bnexp("runs", trained[0], "--watch")
    assert (code, out) == (0, "6 runs: 6 done\n")


def test_a_watch_never_shows_more_than_its_terminal_holds(trained, bnexp, monkeypatch, tmp_path):
    """Lines that the terminal breaks, and causes in several lines, count as what they take."""
    import time

    for path in shutil.copytree(trained[0], tmp_path / "tiny").glob(f"*/*/{STATUS}"):
        told = {"state": "failed", "error": f"{path.parent}: " + "not finite; " * 20}
        sealed.write_sealed(path, {**sealed.read_sealed(path), **told})

    def sleep(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(time, "sleep", sleep)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    for columns, lines in ((30, 12), (79, 24), (200, 3), (300, 50)):
        monkeypatch.setenv("COLUMNS", str(columns))
        monkeypatch.setenv("LINES", str(lines))
        code, out, _ = bnexp("runs", tmp_path, "--watch")
        shown = out.removeprefix("\x1b[2J\x1b[H").splitlines()
        assert code == 0
        assert shown[0] == "6 runs: 6 failed"
        assert sum(max(1, math.ceil(len(line) / columns)) for line in shown) < lines
    assert len(shown) > 6


@pytest.mark.usefixtures("undrawn")
def test_the_same_command_again_measures_and_draws_nothing_anew(
    trained, bnexp, tmp_path, monkeypatch
):
    """Unless a log, the code or a figure is another than that of the summary."""
    folder = shutil.copytree(trained[0], tmp_path / "tiny")
    made_with = {**provenance.provenance(), "git_commit": "0123456789ab"}
    monkeypatch.setattr(summary, "provenance", lambda: made_with)
    words = ("train", "--config", folder / "config.yaml", "--out", folder)
    first = bnexp(*words)
    measured = []

    def measure(results):
        measured.append(results)
        return numbers(results)

    numbers = measuring.measure
    monkeypatch.setattr(measuring, "measure", measure)
    assert bnexp(*words)[1] == first[1]
    assert not measured
    (folder / "figures" / "fig1.png").unlink()
    assert bnexp(*words)[1] == first[1]
    assert len(measured) == 1
    assert (folder / "figures" / "fig1.png").is_file()
    for commit in ("another", "0123456789ab+"):
        made_with["git_commit"] = commit
        assert bnexp(*words)[1] == first[1]
    assert len(measured) == 3
    made_with["git_commit"] = "0123456789ab"
    bnexp(*words)
    path = run_folder(folder, "baseline", 1) / STATUS
    status = sealed.read_sealed(path)
    sealed.write_sealed(path, {**status, "seconds_per_step": 1.0})
    bnexp(*words)
    assert len(measured) == 5


def test_runs_says_of_a_killed_run_that_it_is_silent(trained, bnexp, tmp_path):
    """Nobody was left to write another state: its last heartbeat is old."""
    shutil.copytree(trained[0], tmp_path / "tiny")
    path = run_folder(tmp_path / "tiny", "baseline", 0) / STATUS
    status = sealed.read_sealed(path)
    old = (datetime.now(UTC) - timedelta(minutes=90, seconds=5)).isoformat()
    for heartbeat, told in ((old, "running? silent for 90 min"), (datetime.now(UTC), "running  ")):
        sealed.write_sealed(path, {**status, "state": "running", "heartbeat": str(heartbeat)})
        assert re.search(f"baseline +0  {re.escape(told)}", bnexp("runs", tmp_path)[1])


def test_compare_gives_the_paired_table_in_each_form(trained, bnexp):
    """The same numbers as text, Markdown, CSV and JSON."""
    folder, _ = trained
    code, out, _ = bnexp("compare", folder)
    assert code == 0
    assert "Differences, paired by seed:" in out
    rows = json.loads(bnexp("compare", folder, "--json")[1])
    mean = rows[1]["differences"]["test_accuracy"]["mean"]
    assert str(mean) in bnexp("compare", folder, "--csv")[1]
    assert bnexp("compare", folder, "--markdown")[1].startswith("| variant |")
    code, _, err = bnexp("compare", folder, "--baseline", "batchnrm")
    assert code == 2
    assert "did you mean 'batchnorm'?" in err


def test_configs_lists_each_config_with_whole_sentences(bnexp):
    """Where a sentence of the header goes over lines, all of it is shown."""
    code, out, _ = bnexp("configs")
    assert code == 0
    listed = dict(line.split(maxsplit=1) for line in out.splitlines())
    assert list(listed) == sorted(path.stem for path in (ROOT / "configs").glob("*.yaml"))
    assert all(text.endswith(".") for text in listed.values())
    assert listed["fig1"].endswith("without and with batch norm.")


def test_every_packaged_config_is_valid(bnexp):
    """`validate` takes several names at once, and says how much each would train."""
    names = [path.stem for path in (ROOT / "configs").glob("*.yaml")]
    code, out, _ = bnexp("validate", *names)
    assert code == 0
    assert out.count(": valid;") == len(names)
    assert "quickstart: valid; 2 variants, 3 seeds\n" in out


def test_validate_finds_what_the_data_set_forbids(bnexp, tmp_path):
    """A probe larger than the test set is exit 2, with its place."""
    path = tmp_path / "bad.yaml"
    path.write_text(CONFIG.replace("probe_size: 50", "probe_size: 500"))
    code, out, err = bnexp("validate", "fig1", path)
    assert code == 2
    assert "fig1: valid;" in out
    problem = "digits has 360 test examples; choose at most that many"
    assert err == f"bnexp: {path}:6:35: record.probe_size: {problem}\n"


def test_help_imports_neither_torch_nor_matplotlib_nor_numpy():
    """It answers in a fraction of the time that those take to load."""
    code = (
        "import sys; sys.argv = ['bnexp', '--help']\n"
        "from bnexp.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "print(sorted({'torch', 'matplotlib', 'numpy', 'scipy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
    assert "Start here: bnexp train --config quickstart" in done.stdout


@pytest.mark.parametrize("config", sorted(p.stem for p in (ROOT / "configs").glob("*.yaml")))
@pytest.mark.usefixtures("quick", "undrawn")
def test_every_shipped_config_trains_for_a_few_steps(config, tmp_path):
    """On digits in place of MNIST, with few steps and units; the figures are made too."""
    from helpers.experiments import go

    from bnexp.config import load
    from bnexp.files.experiment_folder import write_config

    small = ["data.name=digits", "model.hidden=[5,4]", "train.steps=3", "seeds=[0,1]"]
    small += ["record.probe_size=20", "record.evaluate_every=1", "record.probe_every=1"]
    experiment = load(config, small)
    write_config(tmp_path, experiment)
    for plan in plans.plans_of(experiment, tmp_path):
        assert go(plan)[0] == "done"
    found = reader.read_experiment(tmp_path)
    figures = experiment_figures.save_figures(found, measuring.measure(found))
    assert all(path.is_file() for path in figures)
    assert len(figures) >= 1


@pytest.mark.usefixtures("undrawn")
def test_one_damaged_run_does_not_hide_the_other_variants(trained, bnexp, tmp_path):
    """It is told by its name, and the rest is compared and drawn."""
    folder = tmp_path / "tiny"
    shutil.copytree(trained[0], folder)
    damaged = run_folder(folder, "baseline", 1) / STATUS
    damaged.write_text("{")
    for command in ("compare", "plot"):
        code, out, err = bnexp(command, folder)
        assert code == 4
        assert err.startswith(f"bnexp: {damaged}: damaged")
        assert "batchnorm" in out or "fig1.png" in out


def test_numbers_that_are_not_finite_make_no_warning(bnexp, tmp_path):
    """A learning rate that makes everything explode, and a probe with a single row."""
    words = ["train", "--config", "quickstart", "train.lr=1e6", "train.steps=30", "seeds=2"]
    code, _, err = bnexp(*words, "--out", tmp_path / "out")
    assert code in {0, 1}
    assert "Warning" not in err
    code, _, err = bnexp("compare", tmp_path / "out")
    assert (code, "Warning" in err) == (0, False)


def test_a_check_is_explained_alone(bnexp, trained):
    """What would be ignored beside it is refused."""
    folder, _ = trained
    code, out, _ = bnexp("verify", "--explain", "7")
    assert (code, "x + 10" in out) == (0, True)
    for words in ([folder], ["--json"]):
        code, out, err = bnexp("verify", *words, "--explain", "7")
        assert (code, out) == (2, "")
        assert "--explain prints one check as text" in err


def test_a_packaged_config_is_printed_and_copied(bnexp, tmp_path):
    """A file that is there stays as it is; an unknown name gets a suggestion."""
    text = (ROOT / "configs" / "gamma.yaml").read_text()
    assert text.startswith("# yaml-language-server: $schema=schema.json\n")
    schema = packaged()["gamma"].with_name("schema.json")
    printed = text.replace("$schema=schema.json", f"$schema={schema}", 1)
    assert bnexp("configs", "gamma") == (0, printed, "")
    mine = tmp_path / "mine.yaml"
    said = "its name is mine: it trains into results/mine\n"
    assert bnexp("configs", "gamma", "--copy", mine) == (0, f"{mine}\n", said)
    assert mine.read_text() == printed.replace("\nname: gamma\n", "\nname: mine\n")
    unfit = tmp_path / "my own.yaml"
    assert bnexp("configs", "gamma", "--copy", unfit)[2].startswith("its name is gamma: ")
    assert unfit.read_text() == printed
    mine.write_text("my own")
    code, _, err = bnexp("configs", "gamma", "--copy", mine)
    assert (code, mine.read_text()) == (4, "my own")
    assert "is there already" in err
    code, _, err = bnexp("configs", "gama")
    assert code == 2
    assert "did you mean 'gamma'?" in err
    assert bnexp("configs", "--copy", mine)[0] == 2


def test_variants_that_do_not_differ_are_warned_of(bnexp):
    """By train, here without training, and by validate."""
    words = ["train", "quickstart", "model.norm=batch", "model.bias=false", "--dry-run"]
    code, _, err = bnexp(*words)
    assert code == 0
    assert "warning: baseline and batchnorm have the same settings" in err


THREE_LINES = """name: mine
data: {name: digits}
variants: {baseline: {}, batchnorm: {model: {norm: batch, bias: false}}}
"""


@pytest.mark.usefixtures("undrawn")
def test_a_config_of_three_lines_trains(bnexp, tmp_path, monkeypatch):
    """A name, a data set and variants: every default fits the data set."""
    monkeypatch.chdir(tmp_path)
    Path("mine.yaml").write_text(THREE_LINES)
    assert bnexp("validate", "mine.yaml") == (0, "mine.yaml: valid; 2 variants, 5 seeds\n", "")
    code, out, _ = bnexp("train", "mine.yaml", "train.steps=20", "seeds=1")
    assert code == 0
    assert "figure: results/mine/figures/fig1.png" in out


REFUSED = {
    "probe": (["record.probe_size=500"], 2, "digits has 360 test examples"),
    "minibatch": (["train.batch_size=2000"], 2, "digits has 1437 training examples"),
    "kernels": (["model.norm=rms", "train.engine=kernels"], 2, "the kernels have no norm 'rms'"),
    "device": (["train.device=mps"], 2, "train.device=mps: not on this machine"),
    "data": (["data.name=kmnist", "data.root=none"], 3, "Put them there"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_refused_command_leaves_nothing_behind(bnexp, tmp_path, monkeypatch, case):
    """Neither a folder nor a config that would refuse the corrected command."""
    from bnexp.data import idx

    overrides, code, text = REFUSED[case]

    def refuse(*_, **__):
        raise OSError("no network")

    monkeypatch.setattr(idx, "urlopen", refuse)
    monkeypatch.chdir(tmp_path)
    Path("mine.yaml").write_text(THREE_LINES)
    found, out, err = bnexp("train", "mine.yaml", *overrides)
    assert (found, out) == (code, "")
    assert text in err
    assert not Path("results").exists()


def test_restart_removes_nothing_for_a_config_that_cannot_be_trained_here(
    bnexp, trained, tmp_path, monkeypatch
):
    """What this machine lacks is told first."""
    shutil.copytree(trained[0], tmp_path / "tiny")
    monkeypatch.chdir(tmp_path)
    words = ["--out", tmp_path / "tiny", "--restart"]
    code, _, err = bnexp("train", tmp_path / "tiny" / "config.yaml", "train.device=mps", *words)
    assert code == 2
    assert "not on this machine" in err
    assert (run_folder(tmp_path / "tiny", "batchnorm", 2) / STATUS).exists()


@pytest.mark.usefixtures("undrawn")
def test_quiet_says_nothing_and_verbose_tells_how_each_run_ended(bnexp, tmp_path):
    """The table and the figures' paths stand on stdout in both cases."""
    path = tmp_path / "tiny.yaml"
    path.write_text(CONFIG)
    words = ["train", path, "seeds=1"]
    code, out, err = bnexp(*words, "-q", "--out", tmp_path / "quiet")
    assert (code, err) == (0, "")
    assert "test accuracy" in out
    code, _, err = bnexp(*words, "-v", "--out", tmp_path / "verbose")
    assert code == 0
    ended = r"(baseline|batchnorm), seed 0: ended at step 60; loss \d\.\d{3}, accuracy \d\.\d{3}"
    assert len(re.findall(ended, err)) == 2
    assert bnexp(*words, "-q", "-v")[0] == 2


def test_the_lines_of_a_long_training_say_how_much_time_is_left(monkeypatch, capfd):
    """At the speed since the first step, which comes after loading and compiling."""
    from bnexp.cli import terminal

    now = [0.0]
    monkeypatch.setattr(terminal.time, "monotonic", lambda: now[0])
    progress = terminal.Progress()
    # Of 1,000 steps 400 were made before. From second 20 on, 15 steps are made in a second.
    for now[0], made in ((1, 400), (20, 400), (30, 550), (41, 715)):
        progress.update(jobs.Tally(runs=4, done=1, steps=1000, made=made))
    assert capfd.readouterr().err.splitlines() == [
        "1 of 4 runs, 400 of 1,000 steps",
        "1 of 4 runs, 550 of 1,000 steps; 30 s left",
        "1 of 4 runs, 715 of 1,000 steps; 19 s left",
    ]


def test_the_bar_of_a_training_that_goes_on_tells_the_speed_of_this_command(monkeypatch):
    """What was made before is shown, and counts neither as steps nor as time of this one."""
    from bnexp.cli import terminal

    shown, now = io.StringIO(), [0.0]
    shown.isatty = lambda: True
    monkeypatch.setattr(sys, "stderr", shown)
    monkeypatch.setattr("tqdm.std.time", lambda: now[0])
    with terminal.Progress() as progress:
        # A run that was killed behind its checkpoint goes on from there.
        for now[0], made in ((0, 450), (1, 400), (11, 550)):
            progress.update(jobs.Tally(runs=4, done=1, steps=1000, made=made))
    last = [text for text in shown.getvalue().split("\r") if "runs:" in text][-1]
    assert "1/4 runs:  55%" in last
    assert "550/1.00k [00:11<00:30, 15.0step/s]" in last


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(3.4, "3 s"), (60, "1 min 0 s"), (3599.6, "1 h 0 min"), (7500, "2 h 5 min")],
)
def test_a_time_is_told_in_the_units_that_matter(seconds, text):
    """Rounded to whole seconds, without seconds from an hour on."""
    from bnexp.cli.terminal import duration

    assert duration(seconds) == text


@pytest.mark.parametrize("name", packaged())
def test_the_command_of_a_packaged_configs_header_works_outside_a_clone(
    bnexp, tmp_path, monkeypatch, name
):
    """As it stands there, and what other configs it names can be printed."""
    from bnexp.config import header

    monkeypatch.chdir(tmp_path)
    program, *words = header(packaged()[name])["Command"].split()
    code, out, _ = bnexp(*words, "--dry-run")
    assert (program, code) == ("bnexp", 0)
    assert out.startswith(f"name: {name}\n")
    text = packaged()[name].read_text()
    assert not re.search(r"\w+\.(yaml|py|md)", text)
    for other in re.findall(r"`bnexp configs (\w+)`", text):
        assert bnexp("configs", other)[0] == 0


@pytest.mark.usefixtures("undrawn")
def test_restart_says_what_it_would_remove_and_what_stays(bnexp, trained, tmp_path, monkeypatch):
    """What was exported of the removed runs, and their page, are not training's to delete."""
    shutil.copytree(trained[0], tmp_path / "results" / "tiny")
    monkeypatch.chdir(tmp_path)
    folder = Path("results/tiny")
    (folder / "export").mkdir()
    Path("tiny.yaml").write_text(CONFIG)
    files = sorted(folder.rglob("*"))
    removed = "its config, its summary and 6 runs"
    stays = f"{folder}/export: was made of the removed runs, and stays"
    _, _, err = bnexp("train", "tiny.yaml", "--restart", "--dry-run")
    assert err.splitlines()[0] == f"would remove of {folder}: {removed}"
    assert sorted(folder.rglob("*")) == files
    _, _, err = bnexp("train", "tiny.yaml", "train.steps=20", "seeds=1", "--restart")
    assert err.splitlines()[:2] == [
        f"{folder}: removed {removed}",
        f"{stays} until you remove it or make it again",
    ]


@pytest.mark.usefixtures("undrawn")
def test_a_path_that_ends_in_a_slash_is_a_folder(bnexp, trained, tmp_path):
    """It is made where it is not there."""
    code, out, _ = bnexp("plot", trained[0], "--out", f"{tmp_path}/new.v/", "--format", "svg,pdf")
    assert code == 0
    assert out.split() == [f"{tmp_path}/new.v/fig1.svg", f"{tmp_path}/new.v/fig1.pdf"]


@pytest.mark.parametrize("command", ["plot", "compare", "report", "verify", "export --to csv"])
@pytest.mark.parametrize("word", ["tiny", "tny", "results/tny"])
def test_a_folder_that_is_not_there_leads_to_the_nearest(
    bnexp, tmp_path, monkeypatch, command, word
):
    """Beside it, or under results."""
    monkeypatch.chdir(tmp_path)
    Path("results/tiny").mkdir(parents=True)
    first, *options = command.split()
    code, out, err = bnexp(first, word, *options)
    assert (code, out) == (4, "")
    listed = "(`bnexp runs` lists the experiments)"
    assert err == f"bnexp: {word}: no such folder; did you mean 'results/tiny'? {listed}\n"


WARNED = {
    "twice": (
        ["train.steps=1", "train.steps=2"],
        "train.steps is set 2 times; the last one counts",
    ),
    "bias": (
        ["model.norm=batch"],
        "baseline and batchnorm differ only in a bias before batch norm, which subtracts it",
    ),
}


@pytest.mark.parametrize("case", WARNED)
def test_overrides_that_may_be_a_mistake_are_warned_of(bnexp, case):
    """A key that is set twice, and variants of which only a bias that does nothing is left."""
    overrides, text = WARNED[case]
    code, _, err = bnexp("train", "quickstart", *overrides, "--dry-run")
    assert code == 0
    assert err.splitlines()[0] == f"warning: {text}"


def test_a_config_that_compares_biases_before_batch_norm_means_it(bnexp):
    """Its overrides, which leave them as they are, make no warning."""
    assert "warning" not in bnexp("train", "bias", "train.steps=5", "--dry-run")[2]


def test_one_is_not_counted_as_several(bnexp, tmp_path, monkeypatch):
    """Of variants, seeds, runs and steps."""
    monkeypatch.chdir(tmp_path)
    Path("x.yaml").write_text("name: x\nseeds: 1\ndata: {name: digits}\nvariants: {a: {}}\n")
    assert bnexp("validate", "x.yaml")[1] == "x.yaml: valid; 1 variant, 1 seed\n"
    err = bnexp("train", "x.yaml", "train.steps=1", "--dry-run")[2]
    assert err == "would train results/x/a: 1 run of 1 step\n"


def test_a_comparison_takes_no_margin_above_one_and_states_no_error_of_two_test_sets(
    bnexp, trained, tmp_path
):
    """An accuracy is at most 1, and a standard error belongs to one test set."""
    code, _, err = bnexp("compare", trained[0], "--margin", "5")
    assert code == 2
    assert "--margin" in err
    published = ROOT / "results" / "published"
    assert "a standard error of" in bnexp("compare", trained[0])[1]
    assert "a standard error of" in bnexp("compare", published / "fig1", published / "lr")[1]
    assert "a standard error of" not in bnexp("compare", published / "fig1", trained[0])[1]


def test_the_listing_of_runs_fits_a_terminal(bnexp, trained, monkeypatch):
    """The time of the last word is left out first; a pipe gets all."""
    from bnexp.cli import runs

    whole = bnexp("runs", trained[0])[1].splitlines()
    assert "heartbeat" in whole[0]
    monkeypatch.setattr(runs, "width", lambda: 80)
    shown = bnexp("runs", trained[0])[1].splitlines()
    assert all(len(line) <= 80 for line in shown)
    assert shown[0].split() == ["experiment", "variant", "seed", "state", "step", "last_accuracy"]
    assert shown[-1] == runs.MORE


def test_every_figure_that_can_be_drawn_is_known_by_its_name(bnexp, trained):
    """One that is no figure at all is told from one that does not fit."""
    import inspect

    from bnexp.cli.plot import FIGURES

    source = inspect.getsource(experiment_figures.drawers)
    assert {*re.findall(r'draw\["(\w+)"\]', source)} == {*FIGURES}
    code, _, err = bnexp("plot", trained[0], "--figure", "gama")
    assert (code, err) == (2, "bnexp: --figure gama: no such figure; did you mean 'gamma'?\n")
