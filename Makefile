# make demo                    from nothing to scored cells on synthetic smears
# make demo DATA="path/to it"  the same on real data (spaces are fine)
# make test                    lint and tests; make test-slow runs those that take minutes
# Both set up .venv first; PYTHON=python3.12 chooses the interpreter it is made with.

PYTHON ?= python3
PY := .venv/bin/python
PIP := $(PY) -m pip --disable-pip-version-check install --quiet --constraint constraints.txt
READY := .venv/.bccd_d2_ready

.PHONY: help setup demo test test-slow lint clean
.DELETE_ON_ERROR:

help:
	@sed -n '1,4s/^# //p' Makefile

setup: $(READY)

demo: $(READY)
	@$(PY) -m bccd_d2 walkthrough --out output/demo $${DATA:+--root "$$DATA"}

test: lint
	@$(PY) -m pytest -q -n 2 --dist loadfile

test-slow: $(READY)
	@$(PY) -m pytest -q --runslow -m slow

lint: $(READY)
	@$(PY) -m ruff check .
	@$(PY) -m mypy

# The stamp comes last, so an interrupted set-up goes on where it stopped.
$(READY): constraints.txt setup.py tools/install_detectron2.py
	@$(PY) -m pip --version >/dev/null 2>&1 || $(PY) -m ensurepip >/dev/null 2>&1 || { \
	  $(PYTHON) -c 'import sys; sys.exit(not (3, 10) <= sys.version_info < (3, 13))' || { \
	    echo "$(PYTHON) is missing or not Python 3.10 to 3.12; try: make PYTHON=python3.11"; \
	    exit 1; }; \
	  echo "setting up .venv (once)"; \
	  $(PYTHON) -m venv --clear .venv || { rm -rf .venv; \
	    echo "no virtual environment could be made. On Debian: apt install python3-venv"; \
	    exit 1; }; }
	@echo "set-up 1 of 3: PyTorch (some GB)"
	@$(PIP) setuptools wheel torch torchvision
	@echo "set-up 2 of 3: detectron2"
	@$(PY) tools/install_detectron2.py --constraint constraints.txt
	@echo "set-up 3 of 3: bccd_d2 and its tools"
	@$(PIP) --no-build-isolation --editable ".[dev]"
	@touch $@

clean:
	rm -rf output/demo build dist .pytest_cache .ruff_cache .cache/mypy
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +
