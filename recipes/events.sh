#!/bin/sh
# Point processes: what a Hawkes process costs and whether its intervals hold; Poisson, Hawkes, neural Hawkes, transformer
# and searched networks on public event streams. ARCHFAB_DATA names the folder that holds `tpp-earthquake` and `tpp-taxi`.
# About an hour on two cores. The results: benchmarks/results/hawkes-2-cores.csv and events-2-cores.csv
set -eu
: "${ARCHFAB_DATA:=../shared/data}"
results=benchmarks/results
python benchmarks/hawkes.py --coverage --csv $results/hawkes-2-cores.csv
python benchmarks/events.py --data "$ARCHFAB_DATA/tpp-earthquake" "$ARCHFAB_DATA/tpp-taxi" --trials 12 \
    --runs "${1:-runs}" --csv $results/events-2-cores.csv
