#!/usr/bin/env bash
# Every committed result, from nothing: about half an hour on two cores.
#   BNEXP_DATA=... scripts/reproduce.sh [NAME...]
set -euo pipefail
cd "$(dirname "$0")/.."
names=("$@")
[ ${#names[@]} -gt 0 ] || names=(fig1 bias bias_adam gamma beta ics lr sigma_lr batch_size)
for name in "${names[@]}"; do
  bnexp train --config "configs/$name.yaml"
  bnexp compare "results/$name" --markdown > "results/$name/compare.md"
done
mkdir -p results/verify
bnexp verify --json > results/verify/mathematics.json
bnexp verify results/fig1 --json > results/verify/fig1.json
