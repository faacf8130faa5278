#!/bin/sh
# Mapping search beside ZigZag: benchmarks/results/mapping-2-cores.csv, and what ZigZag found: mapping-zigzag.json.
# About an hour on one core, nearly all of it ZigZag's; it goes into an environment of its own, without torch.
set -eu
python -m venv zigzag
zigzag/bin/pip install zigzag-dse==3.9.1 six
OMP_NUM_THREADS=1 python benchmarks/mapping.py --peer zigzag/bin/python --csv benchmarks/results/mapping-2-cores.csv
