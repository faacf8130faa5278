#!/bin/sh
# Weight sharing and gradients: what a step and a switch cost, how shared weights rank, fronts from one supernet.
# ARCHFAB_DATA names the folder that holds the data; several hours on two cores. Runs are kept below runs/ and gone on
# with. The results: benchmarks/results/darts-step-2-cores.csv, elastic-2-cores.csv, one-shot-nasbench201.csv,
# one-shot-trail.csv and supernet-fronts-2-cores.csv
set -eu
: "${ARCHFAB_DATA:=../shared/data}"
results=benchmarks/results
python benchmarks/darts_step.py --csv $results/darts-step-2-cores.csv
python benchmarks/elastic.py --csv $results/elastic-2-cores.csv
python benchmarks/one_shot.py --data "$ARCHFAB_DATA/cifar10-10k/cifar10_10k_jpg.zip" \
    --table "$ARCHFAB_DATA/nasbench201" --csv $results/one-shot-nasbench201.csv --trail $results/one-shot-trail.csv
python benchmarks/supernet_fronts.py --data "$ARCHFAB_DATA/fashion-mnist/fashion_mnist_20k_10k.npz" \
    --csv $results/supernet-fronts-2-cores.csv
