# make lab        set up .venv and open JupyterLab on the first notebook   (ARGS=--no-browser for servers)
# make test       set up .venv and run all tests                            (ARGS="-k metrics" for some)
# make notebooks  execute the changed notebook sources and write the .ipynb files
# make assignments  the course as assignments for students and for nbgrader, in assignments/   (ARGS="00 01 --out DIR")
# make clean      remove .venv

PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
ARGS ?=

.PHONY: lab test notebooks assignments lint clean

lab: $(VENV)/lab.stamp
	$(BIN)/jupyter lab notebooks/00_start_here.ipynb $(ARGS)

test: $(VENV)/test.stamp
	$(BIN)/python -m pytest $(ARGS)

notebooks: $(VENV)/test.stamp
	$(BIN)/python tools/build_notebooks.py $(ARGS)

assignments: $(VENV)/lab.stamp
	$(BIN)/cbirkit assignments $(ARGS)

lint: $(VENV)/test.stamp
	$(BIN)/ruff check .

clean:
	rm -rf $(VENV)

$(VENV)/lab.stamp: EXTRAS = lab
$(VENV)/test.stamp: EXTRAS = lab,test

# A stamp is written only after everything is installed: after a failure, the same command goes on.
$(VENV)/%.stamp: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "cbirkit needs Python 3.11 or later, got: $$($(PYTHON) --version 2>&1). Try: make $* PYTHON=python3.12"; exit 1; }
	@test -x $(BIN)/pip || $(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); \
	  echo "No virtual environment could be made. On Debian and Ubuntu: apt install python3-venv; then the same command again."; exit 1; }
	@echo "Installing cbirkit[$(EXTRAS)] into $(VENV): about 3 GB to download on Linux (PyTorch with CUDA), less elsewhere."
	@$(BIN)/python -m pip install -q --disable-pip-version-check -e ".[$(EXTRAS)]" || { \
	  echo "The installation stopped half way. Check the connection and the free disk (df -h: 8 GB are needed), then give the"; \
	  echo "same command again: it goes on where it stopped. If it fails at the same place: make clean, and try once more."; exit 1; }
	@$(BIN)/python -m pip install -q --disable-pip-version-check -e ".[annoy]" >$(VENV)/annoy.log 2>&1 || \
	  echo "Annoy was not built (no C++ compiler?); all else works. Details: $(VENV)/annoy.log. Exact, HNSW and IVFPQ serve instead."
	@touch $@
