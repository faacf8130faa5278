#!/bin/sh
# Forecasting: M4's Hourly and Weekly series and ETTh1, about 50 minutes on two cores, and what a training step costs beside
# neuralforecast's (pip install 'archfab[peers]'). ARCHFAB_DATA names the folder that holds `m4` and `etth1`.
# The results: benchmarks/results/m4-2-cores.csv and forecasting-step-2-cores.csv
set -eu
: "${ARCHFAB_DATA:=../shared/data}"
results=benchmarks/results
python benchmarks/m4.py --data "$ARCHFAB_DATA" --csv $results/m4-2-cores.csv
python benchmarks/forecasting_step.py --csv $results/forecasting-step-2-cores.csv
