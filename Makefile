# Two commands on a fresh machine: `make papers/<slug>` runs a paper, `make test` runs the whole test suite.

SHELL := /bin/bash
VENV := .venv
BIN := $(VENV)/bin
PYTHON ?= $(shell for v in python3.11 python3.12 python3.13 python3; do \
	$$v -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null && echo $$v && break; done)
TORCH := $(shell sed -n 's/^\(torch==[0-9.]*\).*/\1/p' requirements.lock)
# The CUDA packages are pinned, version by version, by torch's own wheel: a CPU build brings none. Triton, which the wheel
# pins as well, is locked all the same: without a GPU the tests interpret its kernels, and compile them.
CUDA := cuda-bindings cuda-pathfinder cuda-toolkit $(addprefix nvidia-, cublas cuda-cupti cuda-nvrtc \
	cuda-runtime cudnn-cu13 cufft cufile curand cusolver cusparse cusparselt-cu13 nccl-cu13 nvjitlink nvshmem-cu13 nvtx)
# Never installed, and compiled apart (see `detection`).
APART := torchvision opencv-python onedl-mmcv
# Papers whose main job builds or trains detectors.
DETECTING := papers/adder_detection papers/convnext papers/eca_net papers/res2net

.PHONY: help install detection test lock papers/%

help:
	@echo "make papers/<slug>     replicate a paper on the embedded data and print its verdicts"
	@echo "make detection         compile mmcv, which detectors need (about 15 minutes of two cores, once)"
	@echo "make test              run the whole test suite (compiles mmcv first)"
	@echo "make lock              resolve requirements.lock anew from pyproject.toml"

# A paper that is not there is told before anything is installed.
NEAREST := $(or $(PYTHON),python3) -c 'import sys; from shared.errors import nearest; print(nearest(sys.argv[1], sys.argv[2:]))'
UNKNOWN := $(firstword $(foreach goal,$(filter papers/%,$(MAKECMDGOALS)),$(if $(wildcard $(goal)/paper.yaml),,$(notdir $(goal:%/=%)))))
ifdef UNKNOWN
$(error no paper `$(UNKNOWN)`; $(shell $(NEAREST) '$(UNKNOWN)' $(patsubst papers/%/paper.yaml,%,$(wildcard papers/*/paper.yaml))))
endif

$(DETECTING) $(DETECTING:%=%/): detection

papers/%: install
	PATH="$(CURDIR)/$(BIN):$$PATH" dvc repro $(@:%/=%)
	@$(BIN)/papertrail ledger $(@:%/=%) --tested
	@echo "notebook, with every table and figure: notebooks/$(notdir $(@:%/=%)).ipynb"

test: detection
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy shared papers
	$(BIN)/lint-imports
	PATH="$(CURDIR)/$(BIN):$$PATH" OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 --dist loadfile

install: $(VENV)/installed

# torch first, by pip: whichever build pip's own configuration prefers (a CPU build, say) satisfies the lock. The rest
# follows with hashes and without resolving anything.
$(VENV)/installed: requirements.lock pyproject.toml
	@test -n "$(PYTHON)" || { echo "make: needs Python 3.11, 3.12 or 3.13; say where: make PYTHON=/path/to/python3.12" >&2; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet "$(TORCH)" "$$(sed -n 's/^\(uv==[0-9.]*\).*/\1/p' requirements.lock)"
	$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python --no-deps --require-hashes -r requirements.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	touch $@

detection: $(VENV)/detection

# mmcv is a source distribution whose build must see the installed torch: in a build environment of its own it installs
# without its operators, and says nothing. pip keeps the wheel for the next time.
$(VENV)/detection: $(VENV)/installed mmcv.lock
	$(BIN)/python -c 'import mmcv.ops' 2>/dev/null || \
		$(BIN)/pip install --quiet --no-deps --no-build-isolation --force-reinstall --require-hashes -r mmcv.lock
	$(BIN)/python -c 'import mmcv.ops'
	touch $@

LOCK := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate --no-header

lock: $(VENV)/installed
	$(LOCK) --all-extras $(addprefix --no-emit-package , $(CUDA) $(APART)) pyproject.toml -o requirements.lock
	sed -n 's/.*"\(onedl-mmcv==[0-9.]*\)".*/\1/p' pyproject.toml | $(LOCK) --no-deps - -o mmcv.lock
