"""Where the tests of configs take place."""

import pytest


@pytest.fixture(autouse=True)
def _in_empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("BNEXP_DATA", raising=False)
