#!/bin/sh
# Fashion-MNIST (20,000 training images, 10,000 test images) for a Cortex-M7 within 256 kB: under 30 minutes on two cores.
# ARCHFAB_DATA names the folder that holds `fashion-mnist`. The result: benchmarks/results/fashion-mnist-cortex-m7-2-cores.csv
set -eu
: "${ARCHFAB_DATA:=../shared/data}"
archfab search vision --data "$ARCHFAB_DATA/fashion-mnist" --flip yes \
    --device cortex-m7 --limit "memory_kb<=256" --minimize error --minimize latency_ms \
    --budget 13m --strategy evolution --population 10 --tournament 4 \
    --deliver 3 --full-epochs 16 --workers 2 --seed 0 --run "${1:-fashion-mnist-cortex-m7}"
