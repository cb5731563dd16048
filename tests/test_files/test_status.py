"""`status.json`: bound to settings, and refused when it is not what was written."""

import json
import zlib
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta

import pytest
from helpers.experiments import small_settings

from bnexp.errors import DamagedError
from bnexp.files.atomic import Extent
from bnexp.files.axes import axes_of, read_axes, write_axes
from bnexp.files.run_folder import binding_settings
from bnexp.files.status import STATUS, Status, read_status, write_status


@pytest.fixture
def status():
    """What a run might say of itself."""
    return Status(
        state="running",
        step=20,
        steps=40,
        variant="batchnorm",
        seed=3,
        settings=binding_settings(small_settings()),
        files={"metrics.csv": Extent(100, 7)},
        history=[{"from_step": 0, "engine": "kernels"}],
        made_with={"command": "bnexp train"},
        pending={"losses": "2", "loss_sum": "nan", "test_accuracy": "0.5"},
        host="here",
        pid=1,
    )


def test_a_status_is_read_as_it_was_written(status, tmp_path):
    """All of it, with settings of every type, and with the time of writing."""
    write_status(tmp_path, status)
    found = read_status(tmp_path)
    assert replace(found, heartbeat="") == status
    age = datetime.now(UTC) - datetime.fromisoformat(found.heartbeat)
    assert timedelta(0) <= age + timedelta(seconds=1) < timedelta(minutes=1)


@pytest.mark.parametrize("key", [*asdict(Status("done", 0, 0, "", 0, {})), "format"])
@pytest.mark.parametrize("value", [[1], {"a": 1}, "x", 3.5, True, "missing"])
def test_a_value_of_a_wrong_type_is_damage_even_under_a_right_checksum(
    status, tmp_path, key, value
):
    """One line that names the file; or it happens to be a value that the key may have."""
    write_status(tmp_path, status)
    content = json.loads((tmp_path / STATUS).read_text())
    del content["crc32"]
    content[key] = value
    if value == "missing":
        del content[key]
    sealed = {"crc32": zlib.crc32(json.dumps(content).encode()), **content}
    (tmp_path / STATUS).write_text(json.dumps(sealed))
    allowed = {"variant": str, "error": str, "host": str, "seconds_per_step": float}
    allowed |= {"settings": dict, "made_with": dict}
    if key == "pending" and value == "missing":  # as in most runs
        assert read_status(tmp_path).pending == {}
        return
    if value != "missing" and isinstance(value, allowed.get(key, ())):
        read_status(tmp_path).silent_minutes()
        return
    with pytest.raises(DamagedError, match=r"^[^\n]*status\.json: [^\n]*$"):
        read_status(tmp_path)


@pytest.mark.parametrize(
    "pending", [{"losses": "1.5"}, {"loss_sum": "much"}, {"loss_sum": None}, {"gain": "1"}]
)
def test_numbers_that_wait_for_their_row_are_numbers(status, tmp_path, pending):
    """A text that is none, or of an unknown name, is damage."""
    write_status(tmp_path, replace(status, pending=pending))
    with pytest.raises(DamagedError, match=r"status\.json: damaged"):
        read_status(tmp_path)


def test_a_heartbeat_in_the_future_does_not_make_a_dead_run_look_alive_for_ever(status):
    """It counts as one of now; a clock that is ahead by more than a minute is not believed."""
    now = datetime.now(UTC)
    for minutes, dead in ((-2, True), (0, False), (0.5, False), (60, True)):
        beat = (now + timedelta(minutes=minutes)).isoformat()
        assert replace(status, heartbeat=beat).seems_dead is dead
    old = (now - timedelta(hours=1)).isoformat()
    assert not replace(status, state="done", heartbeat=old).seems_dead


@pytest.mark.parametrize(
    "record", [{}, {"layers": "last"}, {"probe_every": None}, {"ics_every": 5}]
)
def test_the_axes_of_the_logs_are_read_as_they_were_written(tmp_path, record):
    """percentiles.json describes every column of both logs."""
    axes = axes_of(small_settings(record=record))
    write_axes(tmp_path, axes)
    assert read_axes(tmp_path) == axes
    path = tmp_path / "percentiles.json"
    path.write_text(path.read_text().replace('"every": ', '"every": 1'))
    with pytest.raises(DamagedError, match=r"percentiles\.json"):
        read_axes(tmp_path)
