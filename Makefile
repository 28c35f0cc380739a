# Everything a person or a machine does with this repository. `make demo` and `make check` work from a fresh clone.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PACKAGES := device mesh models tui tests
FAST := not slow and not lab and not browser
WORKERS ?= 2
FUZZ_S ?= 60
PYTEST := $(BIN)/pytest --numprocesses=$(WORKERS) --dist=worksteal
COVERED := --cov --cov-report=

PREFIX ?= $(HOME)/.local
INSTALLED := $(PREFIX)/share/hearthmesh
UNITS := $(HOME)/.config/systemd/user

export PYTHON

.DEFAULT_GOAL := help
.PHONY: help demo check check-fast lint types contracts units fast slow browser pictures lab test-arm fuzz mutants nightly coverage fix bench install uninstall clean debian

help: ## what can be typed here
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 14

$(VENV)/.run: requirements/run.txt requirements/python.sh pyproject.toml
	@requirements/python.sh $(VENV) requirements/run.txt editable
	@touch $@

$(VENV)/.dev: requirements/dev.txt $(VENV)/.run
	@requirements/python.sh $(VENV) requirements/dev.txt editable
	@touch $@

$(VENV)/.mutants: requirements/mutants.txt $(VENV)/.dev
	@requirements/python.sh $(VENV) requirements/mutants.txt editable
	@touch $@

debian: # what the tests need beside Python; in CI nothing may be left out
	@missing=; \
	command -v mosquitto >/dev/null || test -x /usr/sbin/mosquitto || missing="$$missing mosquitto"; \
	command -v systemd-analyze >/dev/null || missing="$$missing systemd"; \
	command -v ip >/dev/null || test -x /usr/sbin/ip || missing="$$missing iproute2"; \
	command -v iptables >/dev/null || test -x /usr/sbin/iptables || missing="$$missing iptables"; \
	command -v chromium >/dev/null || missing="$$missing chromium"; \
	ls /usr/lib/*/faketime/libfaketimeMT.so.1 >/dev/null 2>&1 || missing="$$missing libfaketime"; \
	if [ -n "$$missing" ]; then requirements/debian.sh $$missing || [ -z "$$CI" ]; fi

demo: $(VENV)/.run ## two nodes on this machine: one asks, the other answers
	@$(BIN)/python -m tests.e2e.demo

check: $(VENV)/.dev debian ## every check and every test
	@$(MAKE) --no-print-directory lint types contracts units
	@rm -f .coverage .coverage.*
	@$(MAKE) --no-print-directory fast slow browser coverage fuzz

check-fast: $(VENV)/.dev ## lint, types, contracts and the fast tests
	@$(MAKE) --no-print-directory lint types contracts
	@$(PYTEST) -m "$(FAST)"

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/codespell
	$(BIN)/shellcheck requirements/*.sh .ci/run
	$(BIN)/deptry .
	$(BIN)/validate-pyproject pyproject.toml

types: $(VENV)/.dev
	$(BIN)/mypy

contracts: $(VENV)/.dev
	$(BIN)/lint-imports

# A user manager can use few of systemd's walls, hence the high threshold; the service of the box has its own.
units:
	@mkdir -p build/units
	@sed 's|@HEARTH@|/bin/true|' systemd/user/hearth.service > build/units/hearth.service
	XDG_RUNTIME_DIR=$(CURDIR)/build/units systemd-analyze --user verify build/units/hearth.service
	systemd-analyze security --offline=true --threshold=85 --no-pager build/units/hearth.service >/dev/null

fast: $(VENV)/.dev
	$(PYTEST) $(COVERED) -m "$(FAST)"

slow: $(VENV)/.dev
	$(BIN)/pytest $(COVERED) --cov-append --timeout=900 -m "slow or lab"

browser: $(VENV)/.dev # the guest page in Debian's Chromium
	$(BIN)/pytest $(COVERED) --cov-append -m browser

fuzz: $(VENV)/.dev # every parser of foreign bytes, coverage-guided where there is atheris
	@$(BIN)/python -m tests.fuzz --seconds $(FUZZ_S)

mutants: $(VENV)/.mutants ## alter the fold in one place after another: a test must notice (MODULE=tally for one module)
	@nice -n 10 $(BIN)/python -m tests.mutation $(MODULE)

nightly: $(VENV)/.dev debian ## what takes too long for every change: the boards' processors, mutants, a soak, an hour of fuzzing
	@$(MAKE) --no-print-directory test-arm
	@$(MAKE) --no-print-directory mutants
	@$(BIN)/python -m tests.e2e.soak $(SOAK_MINUTES)
	@$(MAKE) --no-print-directory fuzz FUZZ_S=3600

lab: $(VENV)/.dev debian ## whole nodes in network namespaces (root), and how long things took
	$(BIN)/pytest --timeout=900 -m lab tests/mesh_lab

test-arm: $(VENV)/.dev ## the engine on the boards' processors, emulated (CPU=cortex-a53 for one of them)
	@command -v qemu-aarch64-static >/dev/null || requirements/debian.sh qemu-user-static
	@test -e /usr/share/keyrings/debian-archive-keyring.gpg || requirements/debian.sh debian-archive-keyring
	@nice -n 15 $(BIN)/python -m tests.arm $(CPU)

coverage: $(VENV)/.dev
	$(BIN)/coverage report --include='*/core/*' --fail-under=100
	$(BIN)/coverage report --fail-under=90

pictures: $(VENV)/.dev debian ## draw docs/images anew: the terminal interface and the phone, on real hearths
	@$(BIN)/python -m tests.tui.picture
	@$(BIN)/python -m tests.device.page.picture

fix: $(VENV)/.dev ## let the tools mend what they can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/.dev debian ## print the benchmark tables (AREA=engine for one of them)
	@$(BIN)/python -m tests.bench $(AREA)

install: ## hearth for this user: its own venv, the command and a user service
	@requirements/python.sh $(INSTALLED)/venv requirements/run.txt
	@mkdir -p $(PREFIX)/bin $(UNITS)
	@ln -sfn $(INSTALLED)/venv/bin/hearth $(PREFIX)/bin/hearth
	@sed 's|@HEARTH@|$(PREFIX)/bin/hearth|' systemd/user/hearth.service > $(UNITS)/hearth.service
	@echo "installed $(PREFIX)/bin/hearth"
	@case ":$$PATH:" in *":$(PREFIX)/bin:"*) ;; *) echo "it is not in your PATH yet: export PATH=$(PREFIX)/bin:\$$PATH" ;; esac
	@if systemctl --user daemon-reload 2>/dev/null && systemctl --user enable hearth.service; then \
		echo "start it with: systemctl --user start hearth"; \
	else \
		echo "there are no user services here; start it with: hearth serve"; \
	fi

uninstall: ## take the command, its venv and the service away; the data directory stays
	@systemctl --user disable --now hearth.service 2>/dev/null || true
	@rm -f $(UNITS)/hearth.service $(PREFIX)/bin/hearth
	@rm -rf $(INSTALLED)
	@echo "removed; models, keys and settings stay in the data directory, downloads in the cache directory"

clean: ## remove what was built here
	rm -rf $(VENV) build .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache .coverage .coverage.*
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
