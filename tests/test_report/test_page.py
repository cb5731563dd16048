"""The page as a file: what stands on it, and what it does to other files."""

import json
import math
import re
import shutil
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from bnexp.analysis import summary
from bnexp.errors import StorageError
from bnexp.files.sealed import write_sealed
from bnexp.report import page as report
from bnexp.report.explorer import explorer
from bnexp.report.page import render, write_report

HOSTILE = "<script>alert(1)</script></style><b onclick=alert(2)>"


class Elements(HTMLParser):
    """The elements of a page, with their attributes, and its text."""

    def __init__(self, text):
        super().__init__()
        self.found, self.text = [], ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        """Keep the element."""
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data):
        """Keep the text."""
        self.text += data


def at(content, path):
    """What stands at this place in summary.json."""
    for key in path:
        content = content[key]
    return content


# One experiment and its page serve all of these tests.
pytestmark = pytest.mark.xdist_group("report")


def test_every_number_with_a_place_is_the_one_of_the_summary(page, experiment):
    """To the last digit, and shown with as many digits as there is room for."""
    summary = json.loads((experiment / "summary.json").read_text())
    numbers = [each for _, each in Elements(page.read_text()).found if "data-path" in each]
    assert len(numbers) >= 8
    for each in numbers:
        assert json.loads(each["data-value"]) == at(summary, json.loads(each["data-path"]))


def test_the_page_loads_nothing_and_is_small(page):
    """No address but its own, and far below two megabytes."""
    text = page.read_text()
    for tag, attributes in Elements(text).found:
        for name in ("src", "href", "xlink:href", "action", "poster"):
            address = attributes.get(name) or "#"
            assert address.startswith(("#", "data:,")), (tag, address)
    assert not re.search(r"url\((?!#)|@import", text)
    assert page.stat().st_size < 2_000_000


def test_two_pages_of_the_same_results_are_the_same_bytes(page, experiment, tmp_path):
    """Nothing on it depends on the time or the place."""
    write_report([experiment], tmp_path / "again.html")
    assert (tmp_path / "again.html").read_bytes() == page.read_bytes()


def test_identifiers_stand_once(page, experiment, tmp_path):
    """Also where two experiments with the same figures are on one page."""
    out = tmp_path / "two.html"
    shutil.copytree(experiment, tmp_path / "other")
    write_report([experiment, tmp_path / "other"], out)
    for text in (page.read_text(), out.read_text()):
        identifiers = [each["id"] for _, each in Elements(text).found if "id" in each]
        assert len(identifiers) == len(set(identifiers))


@pytest.fixture
def bare(experiment, tmp_path):
    """The experiment's folder without its logs, whose page has no figure to draw."""
    folder = tmp_path / "bare"
    folder.mkdir()
    for name in ("summary.json", "config.yaml"):
        shutil.copy(experiment / name, folder)
    return folder


def test_the_summary_alone_makes_a_page_that_says_how_to_get_the_rest(bare, tmp_path):
    """Tables and claims, but no figure and no explorer."""
    out = tmp_path / "page.html"
    assert write_report([bare], out) == []
    found = Elements(out.read_text())
    tags = [tag for tag, _ in found.found]
    assert "svg" not in tags
    assert "bnexp train --config" in found.text
    assert tags.count("table") >= 2


def test_texts_of_an_experiment_are_shown_as_text(experiment, tmp_path):
    """A summary whose names hold tags, and a recorded layer whose name ends a script."""
    content = json.loads((experiment / "summary.json").read_text())
    variants = content["variants"]
    content |= {"variants": {HOSTILE: variants["plain"], "other": variants["normalized"]}}
    content |= {"pairs": [], "paper": {}, "bias_gaps": []}
    content["experiment"] = content["environment"]["command"] = HOSTILE
    del content["crc32"]
    write_sealed(tmp_path / "summary.json", content)
    out = tmp_path / "page.html"
    write_report([tmp_path], out)
    found = Elements(out.read_text())
    assert HOSTILE in found.text
    assert [tag for tag, _ in found.found].count("script") == 1
    assert not [each for _, each in found.found if "onclick" in each]


def test_a_layers_name_cannot_end_the_data(experiment):
    """The explorer's data stand in a script element, which a tag in them would close."""
    numbers, results = summary.read_numbers(experiment)
    section = report.section_of(experiment, numbers, results, [], 100_000)
    data = dict(section.explorer.data, variants=[{"name": "</script><b>"}])
    text = render([replace(section, explorer=replace(section.explorer, data=data))])
    assert "b" not in [tag for tag, _ in Elements(text).found]


def test_a_file_that_bnexp_did_not_write_stays(bare, tmp_path):
    """Nor is a link followed; an earlier page is replaced."""
    out = tmp_path / "report.html"
    out.write_text("<!doctype html><title>mine</title>")
    with pytest.raises(StorageError, match="bnexp did not write it"):
        write_report([bare], out)
    assert "mine" in out.read_text()
    out.unlink()
    (tmp_path / "target.html").write_text("theirs")
    out.symlink_to(tmp_path / "target.html")
    with pytest.raises(StorageError, match="a link"):
        write_report([bare], out)
    assert (tmp_path / "target.html").read_text() == "theirs"
    out.unlink()
    write_report([bare], out)
    whole = out.read_bytes()
    out.write_bytes(whole + b"earlier")
    write_report([bare], out)
    assert out.read_bytes() == whole


def test_a_folder_is_refused_with_a_file_in_it_to_give(experiment, tmp_path, bnexp):
    """One that is there, and one that only a slash at the end makes known as one."""
    for out in (str(tmp_path), f"{tmp_path}/new/"):
        code, _, err = bnexp("report", experiment, "--out", out)
        assert code == 4
        assert err == (
            f"bnexp: {Path(out)}: a folder; give a file, such as --out {Path(out)}/report.html\n"
        )
    assert not (tmp_path / "new").exists()


def test_a_damaged_variant_is_named_and_the_others_are_shown(experiment, tmp_path, bnexp):
    """The page is written, the problem is said, and the exit code is 4."""
    shutil.copytree(experiment, tmp_path / "tiny")
    (tmp_path / "tiny" / "plain" / "seed-0" / "probe_percentiles.npy").write_bytes(b"damaged")
    assert bnexp("report", tmp_path / "tiny")[0] == 4
    text = Elements((tmp_path / "tiny" / "report.html").read_text()).text
    assert "plain cannot be read in full" in text
    assert "normalized" in text


def test_a_model_of_the_users_own_has_a_page(tmp_path):
    """What `bnexp.record` wrote, without accuracies."""
    import torch
    from torch import nn

    import bnexp

    model = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.Tanh())
    with bnexp.record(model, tmp_path / "own", nn.BatchNorm1d, variant="bn") as recorder:
        for step in range(30):
            loss = model(torch.randn(16, 4, generator=torch.Generator().manual_seed(step))).mean()
            recorder.step(train_loss=loss)
    out = tmp_path / "own.html"
    assert write_report([tmp_path / "own"], out) == []
    text = Elements(out.read_text()).text
    assert "own" in text
    assert "Explore the units" in text


def test_a_large_grid_fits_the_page(monkeypatch, tmp_path):
    """Twelve variants of three layers of 100 units, five seeds: below two megabytes."""
    from helpers.synthetic import experiment_of, fig1, other

    from bnexp.analysis.measuring import measure

    plain, normalized = fig1(rows=1001).variants.values()
    runs = {}
    for i in range(12):
        base = normalized if i % 2 else plain
        settings = dict(base.settings) | {"train.lr": 0.05 * (1 + i // 2)}
        runs[f"v{i}"] = other(base, name=f"v{i}", settings=settings)
    files = experiment_of(runs, name="grid")
    monkeypatch.setattr(report.summary, "read_numbers", lambda _: (measure(files), files))
    made = []

    def explored(*arguments):
        made.append(explorer(*arguments))
        return made[-1]

    monkeypatch.setattr(report, "explorer", explored)
    out = tmp_path / "grid.html"
    write_report([tmp_path], out)
    assert out.stat().st_size < 2_000_000
    (found,) = made
    assert found.variants == 12
    assert math.isfinite(found.error[1])


def test_a_page_made_from_logs_is_not_replaced_where_the_logs_are_gone(experiment, page, tmp_path):
    """It has more than can be made without them; elsewhere, and again, a page can be made."""
    for name in ("config.yaml", "summary.json"):
        shutil.copy(experiment / name, tmp_path)
    complete = tmp_path / "report.html"
    shutil.copy(page, complete)
    with pytest.raises(StorageError, match=r"stays as it is\.\nGive another --out, or .*train"):
        write_report([tmp_path], complete)
    assert complete.read_bytes() == page.read_bytes()
    for _ in range(2):
        write_report([tmp_path], tmp_path / "other.html")
