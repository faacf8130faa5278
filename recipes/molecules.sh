#!/bin/sh
# Interatomic potentials: data efficiency by degree, the learning curve on ethanol, silicon with stresses, and a training
# step beside nequip's (pip install 'archfab[molecules,peers]'). ARCHFAB_DATA names the folder that holds the data; about
# an hour on two cores. Trainings that stand in the journal are not done again. The results:
# benchmarks/results/molecules-2-cores.csv, nequip-step-2-cores.csv and docs/molecules.png
set -eu
: "${ARCHFAB_DATA:=../shared/data}"
results=benchmarks/results
python benchmarks/nequip_step.py --csv $results/nequip-step-2-cores.csv
python benchmarks/molecules.py --data "$ARCHFAB_DATA" --journal $results/molecules-trainings-2-cores.csv \
    --csv $results/molecules-2-cores.csv --picture docs/molecules.png
archfab search molecules --data "$ARCHFAB_DATA/rmd17-ethanol" --train 50 --trials 4 --run ethanol
