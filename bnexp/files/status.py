"""`status.json`: what became of a run, what made it, and what readers may rely on.

The settings of a run stand in its status, so that its results are bound to what made them: a run
counts as done only for the settings that are written there. The history says which engine, on which
machine and with which versions, computed the steps from which one on.
"""

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from pathlib import Path
from types import UnionType
from typing import Any, Literal, TypedDict, get_args, get_type_hints

from bnexp.config import Value
from bnexp.errors import DamagedError
from bnexp.files.atomic import ANEW, Extent
from bnexp.files.sealed import read_sealed, write_sealed

STATUS = "status.json"
FORMAT = 2
State = Literal["running", "interrupted", "failed", "done"]
RECORD = "record"  # the engine of a run that `bnexp.record` wrote
PENDING: Mapping[str, Callable[[str], float]] = {
    "losses": int,  # how many there were since the last row
    "loss_sum": float,
    "test_accuracy": float,
    "test_loss": float,
}
"""What each text of `Status.pending` stands for; it is a text, since JSON has no NaN."""
SILENT_MINUTES = 1  # after which a run that says it is running may be dead


class Provenance(TypedDict, total=False):
    """What stands in `status.json` and `summary.json` beside the numbers.

    `files.provenance` finds it out. The type stands here, so that who only reads a status need not
    load `importlib.metadata`.
    """

    versions: dict[str, str | None]  # of bnexp, Python and the libraries
    git_commit: str | None
    system: str
    processor: str
    command: str


class HistoryEntry(Provenance, total=False):
    """What computes the steps of a run from one on; the command is no part of it."""

    from_step: int
    engine: str
    arithmetic: str  # the engine's own description: libraries, processor


@dataclass(frozen=True)
class Status:
    """The content of `status.json`.

    Attributes:
        state: `running`, `interrupted` after a signal, `failed`, or `done`.
        step: updates made.
        steps: updates to make in all.
        variant: the name of the run's variant.
        seed: the run's seed.
        settings: of the run, by dotted key, such as `train.lr`; where the data lie is left out.
        files: what readers may rely on: the extent of each file, by name.
        history: of each change of what computes the steps, the first step and what it was.
        heartbeat: when this was written, as ISO 8601 in UTC.
        seconds_per_step: of the process that wrote this, all recording included.
        parameters: of the network, those that are trained.
        error: why the run failed.
        host: where the process runs that wrote this.
        pid: its number there.
        made_with: what the process computes with that wrote this.
        pending: of a recorded run, the numbers that wait for their row of metrics; see `PENDING`.
    """

    state: State
    step: int
    steps: int
    variant: str
    seed: int
    settings: Mapping[str, Value]
    files: Mapping[str, Extent] = field(default_factory=dict)
    history: Sequence[HistoryEntry] = ()
    heartbeat: str = ""
    seconds_per_step: float | None = None
    parameters: int | None = None
    error: str | None = None
    host: str = ""
    pid: int = 0
    made_with: Provenance = field(default_factory=Provenance)
    pending: Mapping[str, str] = field(default_factory=dict)

    def silent_minutes(self) -> float:
        """How far the last heartbeat is from now; a clock that is ahead counts as well."""
        age = datetime.now(UTC) - datetime.fromisoformat(self.heartbeat)
        return abs(age.total_seconds()) / 60

    @property
    def is_recorded(self) -> bool:
        """Whether `bnexp.record` wrote it, of a model that bnexp cannot train again."""
        return any(entry.get("engine") == RECORD for entry in self.history)

    @property
    def seems_dead(self) -> bool:
        """Whether the run says that it is running, but has been silent for too long."""
        return self.state == "running" and self.silent_minutes() >= SILENT_MINUTES


def changes(history: Sequence[HistoryEntry]) -> list[str]:
    """Where the arithmetic of a run changed, each as `from step 500: processor: A, now B`.

    The commit of bnexp's own source tree counts as no change: its version does.
    """
    told = []
    for before, after in itertools.pairwise(map(_flat, history)):
        keys = dict.fromkeys([*before, *after])
        changed = [
            f"{key}: {before.get(key)}, now {after.get(key)}"
            for key in keys
            if before.get(key) != after.get(key) and key not in {"from_step", "git_commit"}
        ]
        if changed:
            told.append(f"from step {after.get('from_step')}: {'; '.join(changed)}")
    return told


def _flat(entry: HistoryEntry) -> dict[str, object]:
    """The entry of a history with its versions beside the rest."""
    versions = entry.get("versions") or {}
    return {key: x for key, x in entry.items() if key != "versions"} | dict(versions)


def now() -> str:
    """The time, as `Status.heartbeat` has it."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def write_status(folder: Path, status: Status) -> None:
    """Write `status.json`, whole or not at all, with its checksum."""
    # Not `asdict`, which copies all that is inside: a status is written often.
    content = {**vars(status), "heartbeat": now()}
    content["files"] = {name: vars(each) for name, each in status.files.items()}
    if not status.pending:
        del content["pending"]
    write_sealed(folder / STATUS, {"format": FORMAT, **content})


def read_status(folder: Path) -> Status:
    """Read `status.json`.

    Raises:
        DamagedError: missing, not what was written, or written by another version of bnexp.
        StorageError: it cannot be read.
    """
    path = folder / STATUS
    content = read_sealed(path)
    if content.pop("format", None) != FORMAT:
        raise DamagedError(f"{path}: written by another version of bnexp; {ANEW}")
    try:
        return _status(content)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        reason = f"{type(error).__name__}: {error}".splitlines()[0][:120]
        raise DamagedError(f"{path}: damaged ({reason}); {ANEW}") from None


def _status(content: dict[str, Any]) -> Status:
    """The status of what JSON holds; an error for any value of a wrong type."""
    content.setdefault("pending", {})
    if missing := [each.name for each in fields(Status) if each.name not in content]:
        raise KeyError(", ".join(missing))
    files = {str(name): Extent(**each) for name, each in content.pop("files").items()}
    settings = {str(key): frozen(value) for key, value in content.pop("settings").items()}
    status = Status(files=files, settings=settings, **content)
    for each in fields(Status):
        value = getattr(status, each.name)
        if isinstance(value, bool) or not isinstance(value, _TYPES.get(each.name, object)):
            raise TypeError(f"{each.name} is {value!r}")
    if status.state not in get_args(State):
        raise ValueError(f"state {status.state!r}")
    if not all(isinstance(each, dict) for each in status.history):
        raise TypeError("history holds no entries")
    if not all(type(n) is int and n >= 0 for file in files.values() for n in vars(file).values()):
        raise TypeError("files hold no lengths")
    for key, text in status.pending.items():
        PENDING[key](text)
    datetime.fromisoformat(status.heartbeat).astimezone(UTC)
    if datetime.fromisoformat(status.heartbeat).tzinfo is None:
        raise ValueError(f"heartbeat {status.heartbeat!r}")
    return status


_TYPES: dict[str, Any] = {
    name: hint
    for name, hint in get_type_hints(Status).items()
    if isinstance(hint, type | UnionType)
} | {"history": list, "made_with": dict, "pending": dict}


def frozen(value: Value) -> Value:
    """The value as the config holds it: JSON has lists where the config has tuples."""
    return tuple(map(frozen, value)) if isinstance(value, list) else value
