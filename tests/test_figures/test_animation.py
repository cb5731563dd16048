"""The film of training: what is in its frames, and what it refuses."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
from helpers.pictures import unreadable
from helpers.synthetic import experiment_of, fig1, other
from PIL import Image

from bnexp.errors import ConfigError
from bnexp.figures import animation, drawing
from bnexp.figures.curves import Selection
from bnexp.figures.panels import looks_of


@pytest.fixture(scope="module")
def files():
    """A small experiment near the paper's."""
    return fig1(rows=41, seeds=2, hidden=(4, 3, 6))


@pytest.fixture
def short(monkeypatch):
    """Films of few frames, at a quarter of the size."""
    monkeypatch.setattr(animation, "FRAMES", 5)
    monkeypatch.setattr(animation, "HELD", 3)
    monkeypatch.setattr(animation, "DPI", 50)


@pytest.mark.usefixtures("short")
def test_the_film_grows_with_training_and_rests_on_its_end(files, tmp_path):
    """Each frame has more ink than the one before; the last one is shown longer."""
    caption = animation.save_film(files, Selection(), tmp_path / "film", "gif")
    assert "drawn from these percentiles" in caption
    with Image.open(tmp_path / "film.gif") as film:
        assert film.size == (480, 270)
        ink, durations = [], []
        for frame in range(film.n_frames):
            film.seek(frame)
            lines = np.asarray(film.convert("RGB"))[:, 40:160]  # of the first variant
            ink.append(int((lines.min(axis=2) < 128).sum()))
            durations.append(film.info["duration"])
    assert len(ink) == 5
    assert ink == sorted(ink)
    assert ink[-1] > ink[0]
    assert durations[-1] > 2 * durations[0]


def test_the_names_of_percentiles_that_are_one_do_not_lie_on_each_other(files):
    """As in a network whose distribution has no spread when training begins."""
    run = files.variants["baseline"]
    values = np.zeros_like(run.probe.values)
    values[20:] = np.array([-1, 0, 1])[:, None]
    made = experiment_of({"flat": other(run, probe=replace(run.probe, values=values))})
    with drawing.style():
        drawn = animation.layout(made.variants, looks_of(made), Selection(unit=0))
        for i, _ in enumerate(animation.frames(*drawn)):
            if i in {0, 30}:
                assert unreadable(drawn[0]) == []


@pytest.mark.usefixtures("short")
def test_two_films_of_the_same_logs_are_the_same_bytes(files, tmp_path):
    """There is no date in them, and nothing random."""
    for name in ("one", "two"):
        animation.save_film(files, Selection(layer=2, unit=1, seed=0), tmp_path / name, "gif")
    assert (tmp_path / "one.gif").read_bytes() == (tmp_path / "two.gif").read_bytes()


@pytest.mark.usefixtures("short")
def test_a_network_that_diverged_or_has_no_probe_has_a_film(files, tmp_path):
    """Minibatches in place of the probe; nothing drawn where there is no number."""
    baseline, batchnorm = fig1(rows=41, seeds=2, hidden=(4, 3, 6), batch_rows=50).variants.values()
    values = np.array(baseline.probe.values)
    values[20:] = np.nan
    broken = other(baseline, probe=replace(baseline.probe, values=values))
    bare = other(batchnorm, probe=None)
    made = experiment_of({"broken": broken, "bare": bare})
    animation.save_film(made, Selection(unit=0, seed=0), tmp_path / "film", "gif")
    assert (tmp_path / "film.gif").stat().st_size > 1000


@pytest.mark.parametrize(
    ("selection", "form", "told"),
    [
        (Selection(), "png", "--format png: no such film; there are gif, mp4"),
        (Selection(unit="all"), "gif", "shows one unit"),
        (Selection(layer=9), "gif", "--layer 9: not recorded"),
    ],
)
def test_what_cannot_be_filmed_is_refused_in_a_line(files, tmp_path, selection, form, told):
    """Before anything is written."""
    with pytest.raises(ConfigError, match=told):
        animation.save_film(files, selection, tmp_path / "film", form)
    assert not list(tmp_path.iterdir())


def test_mp4_needs_ffmpeg_and_says_so(files, tmp_path, monkeypatch):
    """With the format that needs nothing."""
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with pytest.raises(ConfigError, match="needs ffmpeg, which is not on the path; use --format"):
        animation.save_film(files, Selection(), tmp_path / "film", "mp4")


@pytest.mark.usefixtures("short")
@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg is not installed")
def test_mp4_is_written_where_ffmpeg_is(files, tmp_path):
    """A file that begins as MP4 does."""
    animation.save_film(files, Selection(), tmp_path / "film", "mp4")
    assert b"ftyp" in (tmp_path / "film.mp4").read_bytes()[:16]
