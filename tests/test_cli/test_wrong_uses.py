"""Wrong uses of the commands: what a user is told, in one or two lines, and the exit code."""

import sys

import pytest

from bnexp import cli


@pytest.fixture
def told(monkeypatch, capfd, tmp_path):
    """Runs a command in an empty folder; returns exit code and the lines on stderr."""
    monkeypatch.chdir(tmp_path)

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["bnexp", *words])
        with pytest.raises(SystemExit) as stop:
            cli.main()
        out, err = capfd.readouterr()
        assert out == ""
        return stop.value.code, err.splitlines()

    return run


@pytest.mark.parametrize(
    ("words", "text", "command"),
    [
        (["trian"], "No such command 'trian'. Did you mean 'train'?", "bnexp"),
        (["train", "--job", "2"], "No such option: --job (Possible options: --jobs", "bnexp train"),
        (["train", "--jobs", "two"], "Input should be a valid integer.", "bnexp train"),
        (["train", "--config"], "Option '--config' requires an argument.", "bnexp train"),
        (["plot"], "Missing argument 'EXPERIMENT'.", "bnexp plot"),
        (["export", "x"], "Missing option '--to'.", "bnexp export"),
        (["configs", "fig1", "more"], "Got unexpected extra argument(s) (more).", "bnexp configs"),
    ],
    ids=lambda each: " ".join(each) if isinstance(each, list) else "",
)
def test_a_command_line_that_cannot_be_parsed_is_two_lines_and_exit_2(told, words, text, command):
    """What is wrong, and the command that shows what there is."""
    code, (first, second) = told(*words)
    assert code == 2
    assert first.startswith("bnexp: ")
    assert text in first
    assert second == f"`{command} -h` shows what there is."


def test_no_words_at_all_show_the_help_and_exit_2(told):
    """It names every command."""
    code, lines = told()
    assert code == 2
    assert lines[0] == "Usage: bnexp [OPTIONS] COMMAND [ARGS]..."
    assert "  verify    Check what is said of batch normalization." in lines


@pytest.mark.parametrize("command", ["plot", "compare", "verify", "report"])
def test_a_file_in_place_of_an_experiments_folder_is_said_to_be_one(told, tmp_path, command):
    """That there is no such folder would be a riddle to whoever sees it there."""
    (tmp_path / "config.yaml").touch()
    expected = "bnexp: config.yaml: a file; give the folder of an experiment"
    assert told(command, "config.yaml") == (4, [expected])


def test_the_folder_of_a_run_leads_to_that_of_its_experiment(told, tmp_path):
    """It is two folders above the run."""
    (tmp_path / "mine" / "bn" / "seed-0").mkdir(parents=True)
    (tmp_path / "mine" / "config.yaml").touch()
    for inner in ("mine/bn", "mine/bn/seed-0"):
        code, (line,) = told("plot", inner)
        assert code == 4
        assert line.endswith("(config.yaml is missing); did you mean 'mine'?")


def test_results_cannot_go_where_a_file_is(told, tmp_path):
    """The file is not touched, and the lines say what to do."""
    (tmp_path / "notes").write_text("mine")
    code, lines = told("train", "quickstart", "train.steps=1", "--out", "notes")
    assert code == 4
    assert lines[0] == "bnexp: notes: a file, where a folder is needed."
    assert "--out" in lines[1]
    assert (tmp_path / "notes").read_text() == "mine"


def test_a_config_is_not_copied_into_a_folder_that_is_missing(told):
    """The line names the folder."""
    expected = "bnexp: no/mine.yaml: there is no folder no; make it first"
    assert told("configs", "fig1", "--copy", "no/mine.yaml") == (4, [expected])


def test_an_override_of_a_variant_that_is_missing_names_those_there_are(told):
    """As every other choice does."""
    code, (line,) = told("train", "quickstart", "variants.plain.train.lr=1")
    assert code == 2
    assert line.endswith("variants.plain: no such variant; there are baseline, batchnorm")


def test_a_second_config_is_told_in_one_line(told, tmp_path):
    """Its name is no key."""
    for name in ("a.yaml", "b.yaml"):
        (tmp_path / name).write_text("name: x\ndata: {name: digits}\nvariants: {a: {}}\n")
    expected = "bnexp: override 1 'b.yaml': expected key.path=value; a config is given already"
    assert told("train", "a.yaml", "b.yaml") == (2, [expected])


@pytest.mark.parametrize("option", [["--width", "3"], ["--caption"]], ids=" ".join)
def test_a_film_refuses_the_options_of_a_picture(told, option):
    """It would be made without them, and nothing would be said."""
    code, (line,) = told("plot", "mine", "--animate", *option)
    assert code == 2
    assert line == (
        "bnexp: --animate: a film has one size, and its caption is printed; leave out --width and "
        "--caption"
    )


def test_a_scheduler_that_does_not_answer_leaves_no_folder_behind(told, tmp_path):
    """Else the corrected config would be refused for the one that was never trained."""
    pytest.importorskip("distributed", reason="Dask is not installed")
    code, lines = told("train", "quickstart", "--scheduler", "nohost")
    assert code == 2
    assert lines[0].startswith("bnexp: --scheduler nohost: no answer")
    assert not (tmp_path / "results").exists()


def test_an_override_is_no_config_to_validate(told):
    """The line says which command takes both."""
    told_of = (
        "an override, where a config is expected; `bnexp train CONFIG model.norm=batch --dry-run`"
    )
    expected = f"bnexp: model.norm=batch: {told_of} checks it with one"
    assert told("validate", "model.norm=batch") == (2, [expected])


def test_the_folder_of_an_experiment_leads_to_its_config(told, tmp_path):
    """Where a config is expected."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "config.yaml").touch()
    assert told("train", "mine") == (2, ["bnexp: mine: a folder; give mine/config.yaml"])
