# make lab        set up .venv and open JupyterLab on the first notebook   (ARGS=--no-browser for servers)
# make test       set up .venv, run the tests, and of the notebooks those whose source changed  (ARGS="-k metrics" for some)
# make test-all   the same with every notebook
# make notebooks  execute the changed notebook sources and write the .ipynb files
# make claims     what the notebooks assert, with seeds 0, 1 and 2, in docs/claims.md   (ARGS="07 14")
# make assignments  the course as assignments for students and for nbgrader, in assignments/   (ARGS="00 01 --out DIR")
# make clean      remove .venv

PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
ARGS ?=
FIRST = notebooks/00_start_here.ipynb
# What pip says that a person who waits wants to see; all of it is in the log.
TELL = grep --line-buffered -oE '^ *ERROR.*|Downloading [^ ]+ \([0-9.]+ [MG]B\)|Installing collected packages'

.PHONY: lab test test-all notebooks claims assignments lint clean

lab: $(VENV)/lab.stamp
	@echo "Opening $(FIRST) in JupyterLab; end it with Ctrl-C."
	@$(BIN)/jupyter lab --LabApp.default_url=/lab/tree/$(FIRST) $(ARGS)

test: NOTEBOOKS = changed
test-all: NOTEBOOKS = all
test test-all: $(VENV)/test.stamp
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile --notebooks $(NOTEBOOKS) $(ARGS)

notebooks: $(VENV)/test.stamp
	$(BIN)/python tools/build_notebooks.py $(ARGS)

claims: $(VENV)/test.stamp
	$(BIN)/python tools/claims.py $(ARGS)

assignments: $(VENV)/lab.stamp
	$(BIN)/python tools/assignments.py $(ARGS)

lint: $(VENV)/test.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

clean:
	rm -rf $(VENV)

$(VENV)/lab.stamp: EXTRAS = lab,text,device
$(VENV)/test.stamp: EXTRAS = lab,text,device,scale,test

# A stamp is written only after everything is installed: after a failure, the same command goes on.
$(VENV)/%.stamp: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "cbirkit needs Python 3.11 or later, got: $$($(PYTHON) --version 2>&1). Try: make $* PYTHON=python3.12"; exit 1; }
	@test -x $(BIN)/pip || $(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); \
	  echo "No virtual environment could be made. On Debian and Ubuntu: apt install python3-venv; then the same command again."; exit 1; }
	@if ls -d $(VENV)/lib/python*/site-packages/torch >/dev/null 2>&1; then \
	  echo "Installing into $(VENV) what is still missing of cbirkit[$(EXTRAS)]."; else \
	  echo "Installing cbirkit[$(EXTRAS)] into $(VENV): on Linux about 3 GB to download (PyTorch with CUDA), less elsewhere."; \
	  echo "Some minutes on a fast line, half an hour on a slow one. Details: $(VENV)/install.log"; fi
	@rm -f $(VENV)/installed
	@{ $(BIN)/python -m pip install --progress-bar off --disable-pip-version-check -e ".[$(EXTRAS)]" && \
	  touch $(VENV)/installed; } 2>&1 | tee $(VENV)/install.log | $(TELL); test -f $(VENV)/installed || { \
	  echo "The installation stopped half way. Check the connection and the free disk (df -h: 8 GB are needed), then give the"; \
	  echo "same command again: it goes on where it stopped. If it fails at the same place: make clean, and try once more."; exit 1; }
	@$(BIN)/python -m pip install -q --disable-pip-version-check -e ".[annoy]" >$(VENV)/annoy.log 2>&1 || \
	  echo "Annoy was not built (no C++ compiler?); all else works. Details: $(VENV)/annoy.log. Exact, HNSW and IVFPQ serve instead."
	@touch $@
