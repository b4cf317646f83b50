# `make demo` runs the main job on the embedded sample project; `make test` passes the tests.
# Both build their own virtual environment in .venv from requirements.lock.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: demo test test-all lint types contracts pictures lock clean

demo: $(READY)
	$(BIN)/harrier-studio demo

test: $(READY)
	HF_HUB_OFFLINE=1 $(BIN)/python -m pytest -n 2 -m "not slow and not network" --durations=25

test-all: $(READY)
	HF_HUB_OFFLINE=1 HYPOTHESIS_PROFILE=thorough $(BIN)/python -m pytest -n 2 -m "not network"

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(READY)
	$(BIN)/mypy

contracts: $(READY)
	$(BIN)/lint-imports

$(READY): requirements.lock pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "missing: $(PYTHON). Install Python 3.11 or newer, or run: make PYTHON=/path/to/python3 …"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "missing: Python 3.11 or newer ($(PYTHON) is older). Run: make PYTHON=/path/to/python3.11 …"; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { echo "missing: Python's venv module. On Debian and Ubuntu: apt-get install python3-venv"; exit 1; }
	@$(PYTHON) -c 'import shutil, sys; sys.exit(shutil.disk_usage(".").free < 4 * 2**30)' || { echo "missing: 4 GiB of free disk for the environment"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --requirement requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	touch $(READY)

PICTURES := /tmp/studio

# The pictures of the documents (the last two rest on nine runs: a quarter of an hour): the sample project, checked, with two rows dropped and one kept. Export shows where it
# stands, so that is the same place on every machine; `mkdir` refuses one that is somebody else's.
pictures: export HARRIER_STUDIO_CONFIG = $(PICTURES)/no-such-config.toml
pictures: STUDIO = $(abspath $(BIN))/harrier-studio
pictures: DRAW = $(STUDIO) screenshot --project sample --size 120x36 --theme harrier-dark --out $(CURDIR)/docs/pictures/
pictures: $(READY)
	mkdir $(PICTURES)
	cd $(PICTURES) && $(STUDIO) import $(CURDIR)/sample_data/pairs.jsonl --project sample
	cd $(PICTURES) && $(STUDIO) check --project sample
	cd $(PICTURES) && $(STUDIO) decide --project sample --drop 188d4e099da87a75 --drop 7f67eafafc69ab36
	cd $(PICTURES) && $(STUDIO) decide --project sample --keep a2d601ab9eb7562c
	cd $(PICTURES) && $(DRAW)pairs.svg --keys "down down" pairs
	cd $(PICTURES) && $(DRAW)duplicates.svg --keys "f f down down down down" duplicates
	cd $(PICTURES) && $(DRAW)prompts.svg --keys "colon 2 2 4 enter" prompts
	cd $(PICTURES) && $(DRAW)export.svg export
	cd $(PICTURES) && $(DRAW)train.svg train
	cd $(PICTURES) && $(STUDIO) decide --project sample --auto && $(STUDIO) mine --project sample --write
	cd $(PICTURES) && $(STUDIO) matrix --project sample --set evaluation.times=4
	cd $(PICTURES) && $(DRAW)runs.svg --keys "$$(yes down | head -6 | xargs)" runs
	cd $(PICTURES) && $(STUDIO) evaluate --project sample --name final --system bm25 --system run:C-1e-3@baseline --system run:C-1e-3 --system run:C-1e-3,dim=32 --system "rrf(run:C-1e-3 + bm25)"
	cd $(PICTURES) && $(DRAW)evaluate.svg --keys "tab down down" evaluate
	$(RM) -r $(PICTURES)

# Pin what the project's ranges resolve to here; torch and textual are held at the versions the tests were made with.
lock:
	$(PYTHON) -m venv $(VENV)-lock
	$(VENV)-lock/bin/python -m pip install --quiet pip-tools
	$(VENV)-lock/bin/pip-compile --quiet --strip-extras --extra dev --no-emit-index-url --no-emit-find-links --no-header \
		--no-annotate --constraint constraints.txt --output-file requirements.lock pyproject.toml
	sed -i.bak "s/^\(torch==[0-9.]*\)+cpu/\1/" requirements.lock && rm requirements.lock.bak
	rm -rf $(VENV)-lock

clean:
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis
