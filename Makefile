# Each target does all of its own set-up: Python 3.11 or newer and pip are enough.
PYTHON ?= python3
BIN := .venv/bin
.PHONY: demo test test-all check benchmarks simulators clean

demo: .venv/ready
	$(BIN)/archfab search vision --device cortex-m7 --limit "memory_kb<=16" --minimize error --minimize latency_ms \
		--trials 30 --epochs 4 --full-epochs 30 --workers 2 --seed 1 \
		--run demo-$$(date +%Y%m%d-%H%M%S)

test: .venv/ready check
	$(BIN)/pytest -m "not slow" -n 2 --dist loadfile

test-all: .venv/ready check
	$(BIN)/pytest -n 2

# What simulated microcontrollers and the tests of boards over ssh need, on Debian and its kin; tests skip without it.
simulators:
	apt-get update -qq
	DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends gcc libc6-dev gcc-arm-none-eabi qemu-system-arm \
		openssh-server openssh-client

check: .venv/ready
	$(BIN)/ruff check .
	$(BIN)/mypy

benchmarks: .venv/ready
	$(BIN)/python benchmarks/overhead.py

.venv/ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install -q -c constraints.txt torch
	$(BIN)/pip install -q -c constraints.txt -e '.[dev,bench]'
	touch $@

clean:
	rm -rf .venv build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
