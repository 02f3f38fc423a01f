# Two commands on a fresh machine: `make papers/<slug>` runs a paper, `make test` runs the whole test suite.

SHELL := /bin/bash
VENV := .venv
BIN := $(VENV)/bin
PYTHON ?= $(shell for v in python3.11 python3.12 python3.13 python3; do \
	$$v -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null && echo $$v && break; done)
TORCH := $(shell sed -n 's/^\(torch==[0-9.]*\).*/\1/p' requirements.lock)
# The CUDA packages are pinned, version by version, by torch's own wheel: a CPU build brings none.
CUDA := cuda-bindings cuda-pathfinder cuda-toolkit triton torchvision $(addprefix nvidia-, cublas cuda-cupti cuda-nvrtc \
	cuda-runtime cudnn-cu13 cufft cufile curand cusolver cusparse cusparselt-cu13 nccl-cu13 nvjitlink nvshmem-cu13 nvtx)

.PHONY: help install test lock papers/%

help:
	@echo "make papers/ghostnet   replicate a paper on the embedded data and print its verdicts"
	@echo "make test              run the whole test suite"
	@echo "make lock              resolve requirements.lock anew from pyproject.toml"

papers/%: install
	PATH="$(CURDIR)/$(BIN):$$PATH" dvc repro $@
	@$(BIN)/papertrail ledger $(@F) --tested
	@echo "notebook, with every table and figure: notebooks/$(@F).ipynb"

test: install
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
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --require-hashes -r requirements.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	touch $@

lock: $(VENV)/installed
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --all-extras --generate-hashes --no-annotate \
		--no-header $(addprefix --no-emit-package , $(CUDA)) pyproject.toml -o requirements.lock
