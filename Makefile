# `make book` and `make test` set up all they need on a machine with python3 (3.11 or newer), pip, make and git.
# Another Python or another place:  make book PYTHON=python3.12 VENV=/somewhere/venv
# Each package by the hash of its file, from PyPI itself:  make install HASHES=1

PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
# one environment that grows: `make book` makes what pages need, `make test` adds torch and the tools
SITE   := $(VENV)/.site
STAMP  := $(VENV)/.installed
# what the book is made of; folders too, which change when a file leaves (not these five: make has targets of such names)
SOURCES := $(shell find book chapters ddim_edu results tests -mindepth 1 -name __pycache__ -prune -o -name .ipynb_checkpoints -prune \
    -o -path book/chapters -prune -o -print 2>/dev/null)

# what `make quick` tests
MATHEMATICS := $(addprefix tests/test_,$(addsuffix .py,layers schedule forward posterior sampler solvers losses adaptive \
    exact line))

.DEFAULT_GOAL := help
.PHONY: help install book site.zip test quick lint unit pages browser pdf chapters-test chapters lab course slides constraints clean
.NOTPARALLEL:

help:  ## this list
	@awk -F ':.*## ' '/^[a-z.-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

install: $(STAMP)  ## the environment alone: .venv with the versions of constraints.txt, node_modules with those of the lock

$(SITE): book/requirements.txt package.json package-lock.json
	@sh book/_tools/install.sh "$(PYTHON)" "$(VENV)" site
	@touch "$@"

$(STAMP): pyproject.toml constraints.txt $(SITE)
	@sh book/_tools/install.sh "$(PYTHON)" "$(VENV)" $(if $(HASHES),hashed,dev)
	@touch "$(SITE)" "$@"

book: _build/.book  ## the book, in _build/html; needs 300 MB and no torch
	@echo "open _build/html/index.html"

_build/.book: $(SITE) _config.yml $(SOURCES)
	@echo "== book"
	@$(BIN)/jupyter-book build book -q
	@touch "$@"

site.zip: book  ## the book as one file to hand on, _build/site.zip
	@$(BIN)/python book/_tools/pack.py _build/html _build/site.zip

pdf: book  ## the book as one PDF, _build/ddim.pdf, if the machine has Chromium
	@$(BIN)/python book/_tools/pdf.py _build/html _build/ddim.pdf

test: lint pages browser unit chapters-test  ## every check; the browser sees the book that was just built
	@echo "== all passed"

lint: $(STAMP)  ## ruff, its format, and the types of the package
	@echo "== lint: ruff check, ruff format, mypy"
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --check --quiet .
	@$(BIN)/mypy --no-error-summary

# one process, one thread: as fast as two, which would import torch twice
quick: lint  ## a few seconds: lint, the layers, the tests of the mathematics
	@echo "== tests: the mathematics"
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -m "not slow and not browser" $(MATHEMATICS) </dev/null

# one thread each: two workers with as many threads as cores would wait for one another
unit: $(STAMP)  ## the tests of the package and of the book's tools
	@echo "== tests: pytest"
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n 2 </dev/null

pages: $(STAMP)  ## the whole book with warnings as errors, then its offline check
	@echo "== book: every page, warnings are errors"
	@$(BIN)/jupyter-book build book -q -n -W --keep-going --all </dev/null
	@touch _build/.book
	@echo "== book: nothing is loaded from the network"
	@$(BIN)/python book/_tools/check_offline.py _build/html

browser: $(STAMP)  ## the built book in a real browser, if the machine has Chromium
	@echo "== book: in a browser"
	@SITE=_build/html $(BIN)/python -m pytest -q -n 2 -rs tests/test_site.py tests/test_first_visit.py \
	    tests/test_heights.py </dev/null

chapters-test: $(STAMP)  ## re-execute the chapters and compare with the stored outputs
	@echo "== chapters: pytest --nbval"
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q --nbval chapters/ -n 2 --dist loadscope </dev/null

chapters: $(STAMP)  ## execute the chapters whose .py was edited; ALL=1: and those that rest on edited modules
	@$(BIN)/python book/_tools/execute.py $(if $(ALL),--all)

lab: $(STAMP)  ## JupyterLab on the chapters
	@$(BIN)/python book/_tools/lab.py

course: $(STAMP)  ## the exercises as problem sets, for students and with solutions, in _build/course (see the teacher's page)
	@$(BIN)/python book/_tools/course.py make

slides: $(SITE)  ## the chapters' figures as slides, one file a chapter, in _build/slides; needs no torch
	@$(BIN)/python book/_tools/slides.py _build/slides

# keeps the versions that still fit; for the newest of everything: make constraints UV_FLAGS=--upgrade
constraints: $(STAMP)  ## constraints.txt and book/requirements*.txt anew, after an edit of pyproject.toml
	@$(BIN)/python -m pip install -qq --upgrade --target "$(VENV)/uv" uv
	@"$(VENV)/uv/bin/uv" pip compile --quiet --universal --python-version 3.11 --extra dev --no-emit-index-url \
	    --no-emit-find-links --no-annotate $(UV_FLAGS) pyproject.toml -o constraints.txt
	@$(BIN)/python book/_tools/requirements.py "$(VENV)/uv/bin/uv"

clean:  ## what was built; the environment stays (rm -r .venv removes it)
	@rm -rf _build .pytest_cache .ruff_cache .mypy_cache
	@if [ -L book/chapters ]; then rm book/chapters; fi
