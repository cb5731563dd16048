"""A small trained experiment, its page, and a browser: what the tests of this folder share."""

import shutil

import pytest

CONFIG = """name: tiny
seeds: 2
data: {name: digits}
model: {hidden: [12, 9], weight_std: 0.3}
train: {steps: 300, batch_size: 20, lr: 0.5}
record: {layers: all, probe_size: 50, probe_every: 10, evaluate_every: 50, statistics_every: 100}
variants:
  plain: {}
  normalized: {model: {norm: batch, bias: false}}
"""


@pytest.fixture(scope="session")
def experiment(tmp_path_factory):
    """The folder of a small experiment on the digits, trained once."""
    import bnexp

    folder = tmp_path_factory.mktemp("report")
    (folder / "tiny.yaml").write_text(CONFIG)
    bnexp.train(folder / "tiny.yaml", out=folder / "tiny", jobs=1)
    return folder / "tiny"


@pytest.fixture(scope="session")
def page(experiment):
    """The file of its page."""
    from bnexp.report.page import write_report

    out = experiment.parent / "tiny.html"
    assert write_report([experiment], out) == []
    return out


@pytest.fixture(scope="session")
def browser():
    """Headless Chromium, as the system has it."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("there is no Chromium on this system")
    flags = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync"]
    with playwright.sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=chromium, args=flags)
        yield started
        started.close()
