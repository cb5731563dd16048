#!/usr/bin/env bash
# Makes every published result again, from nothing.
#   BNEXP_DATA=... scripts/reproduce.sh [NAME...]
# Runs go to results/NAME. What is published of them is copied to results/published/NAME.
set -euo pipefail
cd "$(dirname "$0")/.."
names=("$@")
[ ${#names[@]} -gt 0 ] || names=(fig1 bias bias_adam gamma beta norms ics lr sigma_lr batch_size)
for name in "${names[@]}"; do
  bnexp train --config "configs/$name.yaml"
  if [ "$name" = fig1 ]; then
    bnexp plot results/fig1 --unit all
    bnexp plot results/fig1 --source batch
  fi
  published="results/published/$name"
  mkdir -p "$published"
  if [ "$name" = fig1 ]; then
    python scripts/probe_interval.py results/fig1 --out "$published/probe_interval.json"
    bnexp report results/fig1 --out "$published/report.html"
    bnexp plot results/fig1 --animate --out results/fig1/figures/fig1_film
  fi
  bnexp compare "results/$name" --markdown > "$published/compare.md"
  cp -r "results/$name/config.yaml" "results/$name/summary.json" "results/$name/figures" "$published/"
done
mkdir -p results/published/verify
bnexp verify --json > results/published/verify/mathematics.json
bnexp verify results/fig1 --json > results/published/verify/fig1.json
bnexp verify results/gamma --json > results/published/verify/gamma.json
python scripts/fidelity.py --out results/published/fidelity
