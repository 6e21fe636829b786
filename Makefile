# Each target is a command a person could type.
.PHONY: lab lab-down lab-purge test test-long test-boot bench

lab:        ## a rack in a box: from power-on to a trained and served model
	@sh lab/bootstrap.sh requirements.txt lab/requirements.txt
	@.venv/bin/python -m lab up

lab-down:   ## take the rack away; caches stay
	@sh lab/bootstrap.sh requirements.txt lab/requirements.txt
	@.venv/bin/python -m lab down

lab-purge:  ## take the rack away, and the caches
	@sh lab/bootstrap.sh requirements.txt lab/requirements.txt
	@.venv/bin/python -m lab purge

test:       ## lint, unit tests, ansible-test, and the lab's path end to end
	@sh lab/bootstrap.sh requirements.txt lab/requirements.txt requirements-dev.txt
	@sh tests/run

test-long:  ## the same, and the tests that take minutes each; before a release of this collection
	@sh lab/bootstrap.sh requirements.txt lab/requirements.txt requirements-dev.txt
	@sh tests/run --long

test-boot:  ## build the devices' image and boot it over the network; minutes, so not part of `make test`
	@sh lab/bootstrap.sh requirements.txt lab/requirements.txt requirements-dev.txt
	@.venv/bin/python -m pytest tests/boot -v -s

bench:      ## what things cost, side by side; the report is in .bench/
	@sh lab/bootstrap.sh requirements.txt lab/requirements.txt requirements-dev.txt
	@.venv/bin/python -m tests.benchmarks
