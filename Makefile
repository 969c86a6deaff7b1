# Entry points for people. Each does its own set-up; see CONTRIBUTING.md for the faster inner loop.
.PHONY: demo test build release unit sim test-all asan tsan bench bench-peers bench-build metg clean

PYTHON := $(CURDIR)/build/venv/bin/python
CONFIGURE = cmake --preset $(1) -DPython_EXECUTABLE=$(PYTHON) --log-level=WARNING >/dev/null

demo: release  ## train on Fashion-MNIST over a head and three raylets while one of them is killed
	@PYTHONPATH=build/release/python $(PYTHON) examples/demo/demo.py

test: build  ## unit, simulator, integration and Python tests
	@$(PYTHON) tests/run.py --build build/dev

build:
	@cmake/bootstrap
	@$(call CONFIGURE,dev)
	@ninja -C build/dev

release:
	@cmake/bootstrap
	@$(call CONFIGURE,release) -DSHOAL_TESTS=OFF -DSHOAL_BENCH=OFF
	@ninja -C build/release

unit: build  ## the unit tests alone
	@ctest --test-dir build/dev -L unit --output-on-failure

sim: build  ## 2,000 fresh seeds of the simulator
	@build/dev/tests/sim/shoal_sim_run --seeds 2000

test-all: build  ## everything, the slow tests too
	@$(PYTHON) tests/run.py --build build/dev --slow

asan tsan:  ## all tests with AddressSanitizer and UBSan, or with ThreadSanitizer
	@cmake/bootstrap
	@$(call CONFIGURE,$@)
	@ninja -C build/$@
	@$(PYTHON) tests/run.py --build build/$@

bench: release  ## Shoal beside Ray: five interleaved rounds; BENCH="--rounds 1 --seconds 0.2" for a quick look
	@$(PYTHON) bench/run.py vs_ray $(BENCH)

bench-peers: release  ## Shoal beside ProcessPoolExecutor, loky, Dask, Parsl and Scaler
	@$(PYTHON) bench/run.py vs_peers $(BENCH)

bench-build:  ## the Google Benchmark programs
	@cmake/bootstrap
	@$(call CONFIGURE,release) -DSHOAL_TESTS=OFF -DSHOAL_BENCH=ON
	@ninja -C build/release

metg: bench-build  ## minimum effective task granularity of Shoal and its peers
	@bench/metg/run

clean:
	rm -rf build
