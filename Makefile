# Every target works in a fresh clone: it makes the virtual environment first, and compiles cpcd as pip does for a
# package that is not editable, so that no start pays for it. What others wrote is compiled on all cores, which pip does
# on one; a file that is none of this Python's is forgiven, as pip forgives it.
# The distribution's own Python comes first where it can be used: it is what the unit runs, and it is built to be fast,
# which one that somebody built is often not (half as fast: `make bench` says so).
FIT := import sys, venv, ensurepip; assert sys.version_info >= (3, 11)
PYTHON ?= $(shell /usr/bin/python3 -c '$(FIT)' 2> /dev/null && echo /usr/bin/python3 || echo python3)
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

unexport PYTHONDONTWRITEBYTECODE

.PHONY: bench bench-kube compiled demo test test-kube test-machines check proof sim chaos fuzz mutants format clean

# Debian has venv in a package of its own; without it `python3 -m venv` leaves half an environment behind.
$(STAMP): pyproject.toml
	@$(PYTHON) -c '$(FIT)' 2> /dev/null || \
	  { echo 'cpcd needs Python 3.11 or later with venv (Debian: apt install python3-venv), or PYTHON=...' >&2; exit 1; }
	$(PYTHON) -m venv --clear $(VENV)
	$(BIN)/pip install --quiet --upgrade 'pip>=25.1'
	$(BIN)/pip install --quiet --no-compile --editable . --group dev
	$(BIN)/python -m compileall -qq -j 0 $(VENV)/lib || true
	$(BIN)/python -m compileall -q -j 0 cpcd
	@touch $@

# KEEP=1 leaves everything running, to look around.
demo: $(STAMP)
	$(BIN)/cpcd demo $(if $(filter-out 0 no false,$(KEEP)),--keep)

check: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# Three workers for two cores, because some tests wait for processes; what uses the lab's fixed addresses goes to one of
# them, test by test. What they would all compile is compiled beside the checks.
test: $(STAMP)
	@$(MAKE) --no-print-directory --jobs=2 check compiled
	$(BIN)/pytest tests -n 3 --no-loadscope-reorder

compiled: $(STAMP)
	@$(BIN)/pytest tests --collect-only -qq > /dev/null

# The contract suites of the Kubernetes port and of etcd's members on real ones, built at the first time: docs/lab.md.
test-kube: $(STAMP)
	nice $(BIN)/python -m tests.real.binaries
	$(BIN)/pytest tests/real/kube_port.py tests/real/etcd_port.py

# Machines that boot, below the lab's Proxmox API, in a network of their own: `make test-machines PART=boot`; wants root.
# Each story goes on where the one before ended, so that the first failure ends them all. Before what else the host has
# to do, since machines whose processor is emulated have no time to lose.
# PART=full is every story of a cluster once but the second control plane's, PART=successor, which two cores carry slowly.
# PART=beside builds and replaces by bare commands too, in turns, and compares.
# PART=rpm plays the playbook with dnf and zypper. PART=ansible cuts runs at moments that SEED=7 repeats.
PART := cni boot prepare
PARTS_OF_MACHINES = $(patsubst full,crash second upkeep replace,$(PART))
test-machines: $(STAMP)
	tests/real/machines/tools.sh
	nice $(BIN)/python -m tests.real.machines.image $(PARTS_OF_MACHINES)
	nice -n -10 unshare --net $(BIN)/pytest --capture=no --exitfirst $(patsubst %,tests/real/machines/%.py,$(PARTS_OF_MACHINES))

# Simulated stories under other luck each: `make sim SEEDS=50 FIRST=0`; a failing seed is named with its command.
sim: $(STAMP)
	nice $(BIN)/python -m tests.sim.seeds $(if $(SEEDS),--seeds $(SEEDS)) $(if $(FIRST),--first $(FIRST))

# 500 seeds a story, and a death at every call and commit of each: an hour on two cores, report in docs/proof.md.
proof: $(STAMP)
	nice $(BIN)/python -m tests.sim.proof $(if $(SEEDS),--seeds $(SEEDS)) $(if $(FIRST),--first $(FIRST)) $(if $(EVERY),--every $(EVERY))

# The daemon as a process over real sockets: killed, cut off, without disk, stopped; figures go to docs/proof.md too.
chaos: $(STAMP)
	nice $(BIN)/python -m tests.chaos $(if $(KILLS),--kills $(KILLS)) $(if $(SEED),--seed $(SEED))
	$(BIN)/python -m tests.sim.proof --render

# Damaged input of every kind, reproducible by seed: `make fuzz CASES=100000 SEED=1`; exit code 1 when anything is found.
fuzz: $(STAMP)
	nice $(BIN)/python -m tests.fuzz $(if $(CASES),--cases $(CASES)) $(if $(SEED),--seed $(SEED))

# Do the tests see it when a decision is another one? `make mutants N=300 SEED=1`; score: docs/mutants.md.
mutants: $(STAMP)
	nice $(BIN)/python -m tests.mutants $(if $(N),--count $(N)) $(if $(SEED),--seed $(SEED))

# Speed and size beside their budgets, also in bench.json: `make bench PARTS="noop builds"`; wants a quiet machine.
bench: $(STAMP)
	$(BIN)/python -m tests.bench $(PARTS)

# The daemon beside a real kube-apiserver with 1,000 Nodes, report in docs/kube.md; `MACHINES=1000` only prints.
bench-kube: $(STAMP)
	$(BIN)/python -m tests.bench.kube $(MACHINES)

format: $(STAMP)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix --exit-zero .

clean:
	rm -rf $(VENV) dist .demo
