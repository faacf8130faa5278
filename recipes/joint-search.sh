#!/bin/sh
# A network searched together with its chip, beside one searched for a given chip: benchmarks/results/joint-2-cores.csv and
# docs/joint-search.png. About three quarters of an hour of CPU time; runs are kept in runs/joint, and gone on with.
set -eu
OMP_NUM_THREADS=1 python benchmarks/joint.py --trials 60 --epochs 4 --full-epochs 30 --deliver 5 \
    --png docs/joint-search.png --csv benchmarks/results/joint-2-cores.csv
