# Every target sets up what it needs. Python 3.11, git, make and a C compiler are all that must be there.
PYTHON ?= python3.11
BIN := .venv/bin
READY := .venv/.ready

.PHONY: run test faults check format lock bench cluster-test images image-test image-tools manifests

run: $(READY)
	$(BIN)/python -m pipelines.cli run

# On two processes, a file to a process: what a file's tests share is made once.
test: $(READY)
	$(BIN)/python -m pytest -n 2 --dist loadfile

# Of these the ones about kills, damage, full disks, hostile files and races.
faults: $(READY)
	$(BIN)/python -m pytest -n 2 --dist loadfile -m faults

# Against a real Kubernetes API: the one of KUBECONFIG, else ../shared/minicluster where it is there and can start.
cluster-test: $(READY)
	$(BIN)/python -m pytest tests/cluster

check: $(READY)
	$(BIN)/python -m ruff check .
	$(BIN)/python -m ruff format --check .
	$(BIN)/python -m mypy
	$(BIN)/python -m pytest -q tests/contract

format: $(READY)
	$(BIN)/python -m ruff format .
	$(BIN)/python -m ruff check --fix .

bench: $(READY)
	$(BIN)/python -m benchmarks

# Needs buildah, podman or docker; see docs/images.md for ROLES, REGISTRY, BASE, PUSH=1 and BUILD_FLAGS.
images: $(READY)
	$(BIN)/python -m images.build $(if $(REGISTRY),--registry $(REGISTRY)) $(if $(BASE),--base $(BASE)) $(if $(PUSH),--push) $(ROLES)
	$(if $(PUSH),$(BIN)/python manifests/render.py)

# The images for real: built on a Debian base made here, and run as a cluster would run them. Minutes; with ROLES="train serve"
# those with CUDA too, which are gigabytes.
image-test: $(READY) image-tools
	EXPANSE_IMAGE_ROLES="$(ROLES)" $(BIN)/python -m pytest -s tests/images

# What image-test needs, where it can be installed; elsewhere the tests say what is missing.
image-tools:
	images/install-tools

$(READY): requirements.lock pyproject.toml
	@echo "Installing what requirements.lock names into .venv; two to three minutes, this once."
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --requirement requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	touch $(READY)

# Resolve anew within pyproject.toml's ranges; review the difference before committing it.
lock:
	$(PYTHON) -m venv .venv-lock
	.venv-lock/bin/python -m pip install --quiet --editable '.[dev]' setuptools
	.venv-lock/bin/python -m pip freeze --all --exclude-editable --exclude pip | sed 's/+cpu$$//' > requirements.lock
	.venv-lock/bin/python -m images.lock
	rm -rf .venv-lock

# What manifests/ takes from the chart, after a change of the chart.
manifests: $(READY)
	$(BIN)/python manifests/render.py
