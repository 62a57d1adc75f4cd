# Each target does the set-up that it needs; `make demo` or `make test` on a fresh machine is enough.
# Needs python3 (3.11 or 3.12 for the embedded engine), pip and make; uv is used where it is present.

PYTHON ?= python3
EXTRA ?= cpu
HOURS ?= 8
VENV := .venv
BIN := $(VENV)/bin
FLOORS := .venv-floors
REFERENCE := .venv-reference
# What hostile input meets first: decoders, feed and request readers, the command line, and a real server under attack.
FLOOR_TESTS := tests/unit/repository/test_dependency_floors.py tests/unit/stages/test_hostile_photos.py \
	$(wildcard $(foreach folder,tests/unit tests/unit/* tests/unit/*/*,$(addprefix $(folder)/test_, \
	decode*.py photo_*.py jpeg_*.py cut_jpeg.py library_silence.py feed_*.py \
	request_fields.py exposition.py))) \
	$(addprefix tests/contract/test_, lens_refusals.py lens_reading.py lens_unknown_methods.py) \
	tests/faults/test_attacks.py tests/e2e/test_bad_requests.py tests/e2e/test_search.py
UV := $(shell command -v uv 2>/dev/null)
export SIGHTLINE_HOME ?= $(CURDIR)/.sightline
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# With LC_ALL=C Python 3.11 cannot start in an environment whose path has letters beyond ASCII: it reads .pth files as ASCII.
ifneq (,$(filter C POSIX,$(LC_ALL)))
export LC_ALL := C.UTF-8
endif

.DEFAULT_GOAL := help
.PHONY: help setup env demo test test-unit test-contract test-servers test-ray test-milvus test-milvus-short test-floors models-reference check format serve quality bench bench-peers attacks soak protos docs lock doctor clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: env ## the environment, the engine's environment, the models; does nothing that is done
	@$(BIN)/sightline engine install
	@$(BIN)/sightline models pull

env: $(VENV)/.stamp

# Pinned and hashed by uv.lock either way: requirements/ is its export for pip. The build uses the packages that are in
# the environment, so that nothing is fetched for it that no hash covers.
$(VENV)/.stamp: pyproject.toml uv.lock requirements/$(EXTRA).txt requirements/dev.txt
ifdef UV
	"$(UV)" sync --frozen --extra $(EXTRA) --python "$(PYTHON)"
else
	test -x $(BIN)/python || "$(PYTHON)" -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --require-hashes -r requirements/$(EXTRA).txt -r requirements/dev.txt
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
endif
	@touch $@

demo: setup ## the main job on the sample world; leaves demo-out/index.html
	$(BIN)/sightline demo --out demo-out

test: setup ## every test, the ones with the real Triton included
	$(BIN)/python -m pytest $(PYTEST_ARGS)

# The same in three parts. The first two start few servers, so they may run at the same time (`make -j2`); the third needs
# the machine for itself.
test-unit: setup ## a part of them: single modules
	$(BIN)/python -m pytest tests/unit $(PYTEST_ARGS)

test-contract: setup ## a part of them: the gRPC services, clients and commands over fake engines
	$(BIN)/python -m pytest tests/contract $(PYTEST_ARGS)

test-servers: setup ## the rest of them: real servers and engines, killed ones as well
	$(BIN)/python -m pytest --ignore tests/unit --ignore tests/contract $(PYTEST_ARGS)

test-ray: setup $(VENV)/.ray-stamp ## the tests of builds on a Ray cluster, in five minutes; installs Ray as locked in uv.lock
	SIGHTLINE_REQUIRE_RAY=1 $(BIN)/python -m pytest tests/integration/test_build_on_ray.py $(PYTEST_ARGS)

# uv removes what the environment should not have, so Ray is installed again after it.
$(VENV)/.ray-stamp: requirements/ray.txt $(VENV)/.stamp
	$(BIN)/python -m pip install --quiet --require-hashes -r requirements/ray.txt
	@touch $@

test-milvus: setup ## the tests that need a real Milvus: a quarter of an hour, and the right to make a network namespace
	SIGHTLINE_REQUIRE_MILVUS=1 $(BIN)/python -m pytest -k "Milvus or milvus" tests/contract $(PYTEST_ARGS)

test-milvus-short: setup ## the contract suite of the backends on a real Milvus, and six of the others, in some two minutes: push, search, write, delete, two pushes at once, doctor
	SIGHTLINE_REQUIRE_MILVUS=1 $(BIN)/python -m pytest tests/contract/backends tests/contract/test_milvus_living.py \
	  tests/contract/test_milvus_catalogs.py tests/contract/test_milvus_doctor.py $(PYTEST_ARGS) \
	  -k "(test_backend and milvus) or acknowledged_is_found or tombstones or sent_again or with_faiss or second_push or is_described"

test-floors: setup $(FLOORS)/.stamp ## hostile input on the lowest version of every dependency
	# An old pytest-asyncio leaves a loop open at the end; what our tests leave open is checked by `make test`.
	$(FLOORS)/bin/python -m pytest -p no:cacheprovider -p no:unraisableexception --hypothesis-profile ci $(FLOOR_TESTS) $(PYTEST_ARGS)

$(FLOORS)/.stamp: requirements/floors.txt pyproject.toml | env
	$(BIN)/python -m scripts.requirements --check
	"$(PYTHON)" -m venv --clear --without-pip $(FLOORS)
	$(BIN)/python -m pip --python $(FLOORS)/bin/python install --quiet --no-compile --require-hashes -r requirements/floors.txt
	$(BIN)/python -m pip --python $(FLOORS)/bin/python install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

models-reference: env ## exported models of the tests and PyTorch's answers, made and tested again in a separate environment (2.5 GB)
	test -x $(REFERENCE)/bin/python || "$(PYTHON)" -m venv --without-pip $(REFERENCE)
	$(BIN)/python -m pip --python $(REFERENCE)/bin/python install --quiet torch==2.13.0 torchvision==0.28.0 timm==1.0.31 \
		transformers==5.24.0 onnx==1.23.2 onnxscript==0.7.2 --editable ".[cpu,export]" --group test
	$(REFERENCE)/bin/python -W ignore tests/congruence/exported_samples.py
	$(REFERENCE)/bin/python -W ignore -m tests.congruence.command_samples
	$(REFERENCE)/bin/python -W ignore -m tests.congruence.text_samples
	$(REFERENCE)/bin/python -m pytest -p no:cacheprovider tests/pytorch

check: env ## format, lint, types, import floors, generated code and requirements fresh, plain English, the Helm chart
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python scripts/protos.py --check
	$(BIN)/python scripts/settings_table.py --check
	$(BIN)/python -m scripts.dashboard --check
	$(BIN)/python -m load_tests.sizing --check
	$(BIN)/python -m scripts.requirements --check
	$(BIN)/python -m scripts.plain_english --check
	$(BIN)/python -m scripts.chart
	$(BIN)/python scripts/protos.py --lint

format: env ## rewrite the code in its format
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

serve: setup ## the server on the demo catalog, in the foreground
	$(BIN)/sightline demo --catalog-only
	$(BIN)/sightline serve --catalog "$$SIGHTLINE_HOME/catalogs/showroom"

quality: setup ## hit rates of the showroom, and of the photos in GROCERY (a folder), with LOCAL_FEATURES=1 and PRINTED_TEXT=1 also by those, with VIEWS=2 in two views; exit 1 when they fell; RECORD=1 writes docs/record/quality.md
	$(BIN)/python -m load_tests.quality $(if $(GROCERY),--grocery "$(GROCERY)") $(if $(LOCAL_FEATURES),--local-features) $(if $(PRINTED_TEXT),--printed-text) $(if $(VIEWS),--views $(VIEWS)) $(if $(RECORD),--record)

bench: setup ## the hot path under load; one JSON object on the last line
	$(BIN)/sightline demo --catalog-only
	$(BIN)/python -m load_tests.bench --catalog "$$SIGHTLINE_HOME/catalogs/showroom"

bench-peers: setup ## the same beside LitServe, Ray Serve and BentoML; about 20 minutes; one JSON object on the last line
	$(BIN)/sightline demo --catalog-only
	$(BIN)/python -m load_tests.peers.bench --catalog "$$SIGHTLINE_HOME/catalogs/showroom"

attacks: setup ## attack a server that is started for it; one line each, exit 1 when a bound is broken
	$(BIN)/sightline demo --catalog-only
	$(BIN)/python -m load_tests.attacks --catalog $(SIGHTLINE_HOME)/catalogs/showroom

soak: setup ## 70 % load for HOURS (8): memory, errors, tail
	$(BIN)/sightline demo --catalog-only
	$(BIN)/python -m load_tests.run soak --catalog "$$SIGHTLINE_HOME/catalogs/showroom" \
		--seconds $$(( $(HOURS) * 3600 ))

protos: env ## generate the Python contract
	$(BIN)/python scripts/protos.py

docs: env ## write the pages that are made from code
	$(BIN)/python scripts/settings_table.py
	$(BIN)/python -m scripts.dashboard
	$(BIN)/python -m load_tests.sizing --write

lock: ## resolve the dependencies again, and write what pip installs
	"$(or $(UV),$(BIN)/uv)" lock
	$(BIN)/python -m scripts.requirements

doctor: env ## what fits and what is missing on this machine
	$(BIN)/sightline doctor

clean: ## remove what the targets made
	rm -rf $(VENV) $(FLOORS) $(REFERENCE) .sightline demo-out bench-out .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
	rm -rf model_repository/*/1
