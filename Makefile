# make demo            the main job on an embedded store (a folder)
# make demo STORE=s3   the same on a real S3 server that this starts and stops
# make test            the whole test suite
# make test-lowest     the same on the lowest versions that pyproject.toml allows
# make check           lint, types and the fast tests
# make gpu             what runs on a GPU, tried and measured in under ten minutes; says so where there is none
# make mutants         break one promise after another: the fast tests must notice (minutes; NAMES= for some)
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
STORE  ?= folder
READY  := $(VENV)/.ready
LOWEST := .venv-lowest
FAST   := "not slow and not ray and not s3 and not gpu and not slurm"

# PostgreSQL's server, SLURM and Prometheus, for tests that are skipped where these cannot be had.
APT := DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends
SYSTEM := { ls /usr/lib/postgresql/*/bin/pg_ctl || command -v pg_ctl; } >/dev/null 2>&1 && command -v slurmctld >/dev/null && command -v prometheus >/dev/null || \
	{ apt-get update -qq && $(APT) postgresql && $(APT) slurmctld slurmd slurm-client munge && $(APT) prometheus; } >/dev/null

# MLflow's server, for a test that is skipped where it cannot be had. It wants other versions of what both use.
MLFLOW := test -x .venv-mlflow/bin/mlflow || \
	{ $(PYTHON) -m venv .venv-mlflow && .venv-mlflow/bin/python -m pip install --quiet 'mlflow>=3.17'; }

.PHONY: demo test test-lowest check gpu mutants format lock clean
.DELETE_ON_ERROR:

$(READY): LOCK := requirements.lock
$(READY): requirements.lock
$(LOWEST)/.ready: LOCK := requirements-lowest.lock
$(LOWEST)/.ready: requirements-lowest.lock

$(READY) $(LOWEST)/.ready: %/.ready: pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "au-dist needs Python 3.11 or newer; set PYTHON=")'
	$(PYTHON) -m venv $*
	$*/bin/python -m pip install --quiet --upgrade pip setuptools wheel
	$*/bin/python -m pip install --quiet --constraint $(LOCK) --no-build-isolation --editable ".[dev]"
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
	-$(SYSTEM)
	-$(MLFLOW)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -n 2 --dist loadscope --max-worker-restart 0 --durations=40

test-lowest: $(LOWEST)/.ready
	-$(LOWEST)/bin/python -m au_dist.cluster.local_s3 install
	-$(SYSTEM)
	-$(MLFLOW)
	$(LOWEST)/bin/python -m pytest -n 2 --dist loadscope --max-worker-restart 0 --durations=40

check: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -q -n 2 -m $(FAST)

gpu: $(READY)
	$(BIN)/python benchmarks/gpu.py

mutants: $(READY)
	$(BIN)/python tests/mutants.py $(NAMES)

format: $(READY)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lock: $(READY)
	$(BIN)/python -m pip freeze --exclude-editable --exclude pip --exclude setuptools --exclude wheel | grep -E '^[A-Za-z0-9._-]+==' > requirements.lock

clean:
	rm -rf $(VENV) $(LOWEST) .venv-mlflow .demo build *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
