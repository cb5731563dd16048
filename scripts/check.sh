#!/usr/bin/env bash
# Everything that must hold: format, lint, types, tests.
set -euo pipefail
cd "$(dirname "$0")/.."
ruff format --check
ruff check
mypy
pytest
