# make demo | test | check | bench: each makes .venv and installs what it needs where it is missing.
# make alone installs the command as .venv/bin/streamer.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ARGS ?=
WHEELS ?= wheels

# Sets of tests, three at once on two cores: those that stream mostly wait. Kernels are compiled once for a whole set. They are
# begun in this order, the longest first, and the last two are about as long: one that is left alone at the end uses a
# single core.
TESTS_export := tests/export tests/streamer/ops
TESTS_end-to-end := tests/end_to_end
TESTS_kernels := tests/kernels tests/benchmarks tests/streamer/gpu
TESTS_enhance := $(addprefix tests/streamer/,enhance infer)
TESTS_streams := tests $(addprefix --ignore=,$(TESTS_export) $(TESTS_end-to-end) $(TESTS_kernels) $(TESTS_enhance))
SETS := $(addprefix test-,kernels end-to-end streams export enhance)

# TensorRT's oldest API that is used, beside the newest, which .dev brings. Its bindings are for Linux on x86-64 alone.
OLDEST_TENSORRT := 10.12.0.36
ifeq ($(shell uname -sm),Linux x86_64)
OLD_APIS := test-tensorrt
endif

.PHONY: install demo test $(SETS) test-tensorrt check bench latency quality train train-gpu models-page gpu-check gpu-wheels gpu-pack \
	format clean

install: $(VENV)/.run

demo: $(VENV)/.run
	$(BIN)/streamer demo $(ARGS)

test: $(VENV)/.dev
ifeq ($(strip $(ARGS)),)
	$(MAKE) --jobs=3 --output-sync=target $(SETS) $(OLD_APIS)
else
	$(BIN)/pytest $(ARGS)
endif

$(SETS): test-%: $(VENV)/.dev
	$(BIN)/pytest $(TESTS_$*)

test-tensorrt: $(VENV)/tensorrt-$(OLDEST_TENSORRT)
	TENSORRT=$(OLDEST_TENSORRT) PYTHONPATH=$< $(BIN)/pytest $(wildcard tests/streamer/infer/test_*tensorrt*.py)

$(VENV)/tensorrt-$(OLDEST_TENSORRT): $(VENV)/.dev
	$(BIN)/pip install --quiet --no-deps --target $@ tensorrt-cu12-bindings==$(OLDEST_TENSORRT)
	touch $@

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

# MODELS.md from the manifests; ARGS=--pictures also draws those of networks that changed.
models-page: $(VENV)/.dev
	$(BIN)/python -m export page $(ARGS)

# On a machine with an NVIDIA GPU and nvcc, nine minutes at most, without a network: tests, bandwidth, engines, streams, a
# live minute. Runs with $(PYTHON), which may have torch and others, and what the wheels in $(WHEELS) add; exit code 3 of
# python3 -m benchmarks.gpu_check is a check of which a part could not run.
gpu-check:
	$(PYTHON) -m benchmarks.gpu_check --wheels $(WHEELS) $(ARGS)

# Where there is a network: those wheels, as a parcel in parts. ARGS="--python 3.12 --have numpy,opencv-python-headless"
gpu-wheels: $(VENV)/.run
	$(BIN)/python -m benchmarks.gpu_check_wheels fetch --to $(WHEELS) $(ARGS)

# What has to travel to that machine: the tree as git has it, and how the parts go beside it.
gpu-pack: $(VENV)/.run
	$(BIN)/python -m benchmarks.gpu_check_wheels show --to $(WHEELS) $(ARGS)

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
	$(BIN)/pip install --quiet --no-compile --editable '.[cpu,openvino,export,dev]'
	touch $@
