# make demo | test | check | bench: each makes .venv and installs what it needs where it is missing.
# make alone installs the command as .venv/bin/streamer.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ARGS ?=

.PHONY: install demo test check bench latency quality train train-gpu models-page format clean

install: $(VENV)/.run

demo: $(VENV)/.run
	$(BIN)/streamer demo $(ARGS)

test: $(VENV)/.dev
	$(BIN)/pytest $(ARGS)

check: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/.run
	$(BIN)/python -m benchmarks throughput $(ARGS)

# Glass to glass, beside libav's demuxer and stock aiortc; a quarter of an hour on a quiet machine.
latency: $(VENV)/.run
	$(BIN)/python -m benchmarks latency $(ARGS)

# make quality TASK=sr DATA=folder
quality: $(VENV)/.run
	$(BIN)/python -m benchmarks quality --task $(TASK) --data $(DATA) $(ARGS)

# make train RECIPE=sr_lite_x2_live DATA=folder
train: $(VENV)/.dev
	$(BIN)/python -m export train $(RECIPE) --data $(DATA) $(ARGS)

# make train-gpu ARGS="pack --data folder"; on the machine with the GPU: unpack, run; here: unpack. export/train_gpu.py tells all.
train-gpu: $(VENV)/.dev
	$(BIN)/python -m export.train_gpu $(ARGS)

# MODELS.md from the manifests; ARGS=--pictures draws its pictures anew.
models-page: $(VENV)/.dev
	$(BIN)/python -m export page $(ARGS)

format: $(VENV)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .import_linter_cache

# What running needs, without torch; what developing needs comes on top of it.
$(VENV)/.run: pyproject.toml hatch_build.py $(wildcard kernels/cpu/*) kernels/native_build.py
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Streamer needs Python 3.11 or newer; run: make PYTHON=python3.12 ...")'
	test -x $(BIN)/pip || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --editable '.[cpu,openvino]'
	touch $@

$(VENV)/.dev: $(VENV)/.run
	$(BIN)/pip install --quiet --editable '.[cpu,openvino,export,dev]'
	touch $@
