#!/bin/sh
# The digits table that comes with archfab: 1,197 networks x 3 seeds x 9 epochs on scikit-learn's digits, trained in about
# 20 minutes of one core. Interrupted, the same command goes on. The result is archfab/tables/digits (without `runs`).
# Half of the images that are not test images serve for validation, so that scores are less coarse and trainings short.
set -eu
cd "$(dirname "$0")"
archfab table build vision --space digits_space.py --epochs 9 --seeds 3 --validation 0.5 --batch 128 --lr 0.02 \
    --devices cortex-m7 raspberry-pi-4 edge-npu server-gpu --workers 2 --out "${1:-digits}" \
    --about "the digits of scikit-learn, 8x8 pixels, on small convolutional networks" \
    --licence "CC0-1.0 (the figures; made by archfab)"
