# Each target does its own set-up: a fresh machine needs python3 and make, nothing else.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed

# One thread a process, sleeping while it waits: with two test workers on two cores, spinning threads
# fall to a hundredth of their speed.
test kill-test bench-store: export OMP_NUM_THREADS = 1
export OMP_WAIT_POLICY = passive

.PHONY: setup test lint demo study-small bench bench-store bench-students bench-statistics bench-scale bench-blocks kill-test clean

STUDY := grid losses ensemble sequential noisy_teacher noisy_labels penultimate views data_fraction fidelity born_again

setup: $(STAMP)

$(STAMP): pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --no-compile --disable-pip-version-check -e '.[dev]'
	touch $@

test: setup
	$(BIN)/python -m pytest -n 2 --dist worksteal -q

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

demo: setup
	$(BIN)/logitcache run pipelines/fashion_mnist.toml

# Whatever is finished is skipped: interrupted anywhere, the same command goes on.
study-small: setup
	for name in $(STUDY); do \
		$(BIN)/logitcache run pipelines/kim2021/$$name.toml --set profile=small \
		&& $(BIN)/logitcache study collect runs/kim2021-$$name-small || exit 1; \
	done
	$(BIN)/logitcache study page

bench: setup
	$(BIN)/python benchmarks/bench.py

bench-store: setup
	$(BIN)/python benchmarks/bench_store.py

bench-students: setup
	$(BIN)/python benchmarks/bench_students.py

bench-statistics: setup
	$(BIN)/python benchmarks/bench_statistics.py

bench-scale: setup
	$(BIN)/python benchmarks/bench_scale.py --encoding uniform

bench-blocks: setup
	$(BIN)/python benchmarks/bench_blocks.py

kill-test: setup
	$(BIN)/python benchmarks/kill_cache.py
	$(BIN)/python benchmarks/kill_cluster.py
	$(BIN)/python benchmarks/faulty_storage.py

clean:
	rm -rf .venv build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
