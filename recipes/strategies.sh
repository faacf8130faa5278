#!/bin/sh
# Every strategy on public benchmark tables: about an hour on two cores.
# ARCHFAB_DATA names the folder that holds the tables. The results: benchmarks/results/strategies-nasbench201.csv,
# strategies-tables.csv and pareto-hw-nas-bench.csv
set -eu
: "${ARCHFAB_DATA:=../shared/data}"
results=benchmarks/results
python benchmarks/strategies.py --table "$ARCHFAB_DATA/nasbench201" --evaluations 150 --runs 200 \
    --csv $results/strategies-nasbench201.csv
python benchmarks/pareto.py --tables "$ARCHFAB_DATA/nasbench201" "$ARCHFAB_DATA/hw-nas-bench" --runs 10 \
    --csv $results/pareto-hw-nas-bench.csv
transnas="$ARCHFAB_DATA/transnas-bench-101#transnas-bench-101"
archfab compare-strategies --evaluations 100 --runs 20 --out "${1:-comparisons/tables}" --tables digits \
    "$ARCHFAB_DATA/nasbench201#cifar100" "$ARCHFAB_DATA/nas-bench-macro" \
    "$ARCHFAB_DATA/nas-bench-graph#cora" "$ARCHFAB_DATA/nas-bench-graph#arxiv" \
    "$transnas-micro/jigsaw" "$transnas-micro/class_scene" "$transnas-macro/class_object"
python benchmarks/record.py "${1:-comparisons/tables}" --recipe recipes/strategies.sh --out $results/strategies-tables.csv
