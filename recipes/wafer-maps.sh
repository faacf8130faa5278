#!/bin/sh
# Classes of wafer maps: the WM-811K subset (18,004 maps to learn from, 12,434 to search on, 12,450 to test) with a small
# budget, random search and baselines beside it. About 9 minutes of CPU; --size 32 --trials 20
# --full-epochs 12 takes an hour. ARCHFAB_DATA names the folder that holds `wm811k-subset`.
# The results: benchmarks/results/wafer-maps-2-cores.csv, and of the comparison of ways to draw maps
# (benchmarks/wafer_study.py, minutes on a GPU, hours without) wafer-study-h200.csv
set -eu
: "${ARCHFAB_DATA:=../shared/data}"
archfab search vision --data "$ARCHFAB_DATA/wm811k-subset" --size 24 --trials 4 --epochs 1 --full-epochs 5 --deliver 1 \
    --workers 2 --seed 0 --run "${1:-wafer-maps}"
