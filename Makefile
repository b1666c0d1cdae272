# The commands of the README; CI calls the same ones. Everything that runs is in the virtual environment below.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
SPARK_VENV := .venv-spark
PACKAGES := -c 'import sysconfig; print(sysconfig.get_path("purelib"))'
BIN := $(VENV)/bin
DATA ?= ../shared/data
# One numeric thread per library: two processes with all cores each are slower than two with one.
export OMP_NUM_THREADS ?= 1
export OPENBLAS_NUM_THREADS ?= 1

.PHONY: help setup demo test test-spark lint unit dev sql sql-check real bench chaos soak clean

help:  ## Show these commands
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

setup: $(VENV)/.installed  ## Create the environment in .venv with the pinned versions

$(VENV)/.installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11) and "Python 3.11 is wanted, found " + sys.version.split()[0] + ". Set PYTHON=/path/to/python3.11")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

demo: setup  ## Two simulated firms, one campaign, every stage; ends with the result beside the truth
	$(BIN)/python -m xmkt_assets.demo

test: setup lint unit  ## Lint, types and every test

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

unit: setup
	$(BIN)/python -m pytest -n 2 --dist loadfile

test-spark: $(SPARK_VENV)/.installed  ## Every portable SQL model on Sail, a Spark-compatible engine: the same rows
	$(SPARK_VENV)/bin/python -m pytest xmkt_assets_tests/spark

# On top of the other environment, and not in it: MLflow and others change what they do where pyspark can be imported.
$(SPARK_VENV)/.installed: $(VENV)/.installed
	test -x $(SPARK_VENV)/bin/python || $(PYTHON) -m venv $(SPARK_VENV)
	$(BIN)/python $(PACKAGES) > "$$($(SPARK_VENV)/bin/python $(PACKAGES))/base.pth"
	$(SPARK_VENV)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[spark]'
	@touch $@

dev: setup  ## Dagster on http://localhost:3000 and MLflow on http://localhost:5000, on XMKT_HOME
	$(BIN)/python -m xmkt_assets.dev

sql: setup  ## A read-only SQL shell on the lake; while runs write, too
	@$(BIN)/python -m xmkt_assets.sql

sql-check: setup  ## Read every file of dbt_like_sql: mistakes, order, grain, what reads what
	@$(BIN)/python -m xmkt_assets.sql --check

real: setup  ## The same jobs on the public data in DATA, in the home ./data-real
	XMKT_HOME=$(or $(XMKT_HOME),$(CURDIR)/data-real) $(BIN)/python -m xmkt_assets.real --data $(DATA)

bench: setup  ## Benchmarks against the peers, in the same run
	$(BIN)/python -m xmkt_assets_tests.benchmarks

chaos: setup  ## kill -9 at 30 moments of a load; after each the next load must make the tables whole
	XMKT_START_ON=2026-07-01 $(BIN)/python -m xmkt_assets_tests.chaos

soak: setup  ## 3 minutes of 4 writers, killed at random, and 8 readers; every read and every commit must be whole
	$(BIN)/python -m xmkt_assets_tests.chaos.soak --minutes 3

clean:  ## Remove the environment and caches; homes (data, data-real) stay
	rm -rf $(VENV) $(SPARK_VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis *.egg-info
