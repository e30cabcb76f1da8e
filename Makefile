# make demo            the main job on an embedded store (a folder)
# make demo STORE=s3   the same on a real S3 server that this starts and stops
# make test            the whole test suite
# make check           lint, types and the fast tests
# make mutants         break one promise after another: the fast tests must notice (minutes; NAMES= for some)
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
STORE  ?= folder
READY  := $(VENV)/.ready
FAST   := "not slow and not ray and not s3 and not gpu"

.PHONY: demo test check mutants format lock clean
.DELETE_ON_ERROR:

$(READY): pyproject.toml requirements.lock
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "au-dist needs Python 3.11 or newer; set PYTHON=")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip setuptools wheel
	$(BIN)/python -m pip install --quiet --constraint requirements.lock --no-build-isolation --editable ".[dev]"
	touch $@

demo: $(READY)
ifeq ($(STORE),s3)
	$(BIN)/python -m au_dist.cluster.local_s3 install
	$(BIN)/python examples/demo.py --s3
else
	$(BIN)/python examples/demo.py
endif

test: $(READY)
	-$(BIN)/python -m au_dist.cluster.local_s3 install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -n 2 -m $(FAST)
	$(BIN)/python -m pytest -m "slow or ray or s3 or gpu"

check: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -q -n 2 -m $(FAST)

mutants: $(READY)
	$(BIN)/python tests/mutants.py $(NAMES)

format: $(READY)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lock: $(READY)
	$(BIN)/python -m pip freeze --exclude-editable --exclude pip --exclude setuptools --exclude wheel | grep -E '^[A-Za-z0-9._-]+==' > requirements.lock

clean:
	rm -rf $(VENV) .demo build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
