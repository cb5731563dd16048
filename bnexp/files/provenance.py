"""What a result was made with: versions, commit, processor, command."""

import os
import platform
import shlex
import subprocess
import sys
from importlib import metadata
from pathlib import Path

from bnexp import __version__
from bnexp.files.status import Provenance

PACKAGES = ("torch", "torchvision", "numpy", "numba", "scipy", "scikit-learn", "matplotlib")


def provenance() -> Provenance:
    """What this process makes results with."""
    return {
        "versions": {
            "bnexp": __version__,
            "python": platform.python_version(),
            **{name: version_of(name) for name in PACKAGES},
        },
        "git_commit": _git_commit(),
        "system": f"{platform.system()} {platform.machine()}",
        "processor": _processor(),
        "command": command(),
    }


def command() -> str:
    """The command that this process was started with."""
    return shlex.join([*_program(), *sys.argv[1:]])


def version_of(package: str) -> str | None:
    """The version that is installed; `None` where it is not: Numba may be missing."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _program() -> list[str]:
    """`bnexp`, or the script that is run, without this machine's path to it."""
    path = Path(sys.argv[0])
    script = path.suffix == ".py" and path.parent.name == "scripts"
    return ["python", f"scripts/{path.name}"] if script else ["bnexp"]


def _git_commit() -> str | None:
    """The commit of the source tree the package runs from, with `+` where it was changed."""
    root = Path(__file__).parents[2]
    if not (root / ".git").exists():
        return None
    try:
        described = subprocess.run(
            ["git", "describe", "--always", "--abbrev=12", "--dirty=+"],  # noqa: S607
            cwd=root, capture_output=True, text=True, timeout=10, check=True,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return None
    return described.stdout.strip()


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return f"{line.split(':', 1)[1].strip()}, {os.cpu_count()} cores"
    return f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores"
