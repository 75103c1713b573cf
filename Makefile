# The commands.  PYTHON=python3.12 make ... chooses another Python (3.9 or newer, with venv).

PYTHON ?= python3
VENV := .venv
INSTALL := $(VENV)/bin/pip install --quiet --disable-pip-version-check --constraint requirements/constraints.txt
NEEDS := setup.py requirements/constraints.txt

COMPILE := $(VENV)/bin/uv --quiet --no-config pip compile --universal --python-version 3.9 --upgrade --generate-hashes \
	--no-emit-index-url --no-annotate --custom-compile-command 'make requirements' \
	--constraint requirements/constraints.txt setup.py requirements/build.in

.PHONY: demo check check-lint check-types check-tests test test-cinder cinderlib-functional requirements man rpm release clean

demo: $(VENV)/demo.stamp  ## a disk's whole life, on an embedded StorPool; RELEASE=4.5.7 on that Engine; STAY=1 to try commands
	@$(VENV)/bin/storpool-ovirt demo $(if $(RELEASE),--release '$(RELEASE)') $(if $(STAY),--stay)

check: $(VENV)/check.stamp  ## lint, types and the fast tests of all rooms, within a minute: for whoever changes something
	@$(MAKE) --no-print-directory --jobs 2 --keep-going --output-sync=target check-tests check-types check-lint

check-lint:
	@$(VENV)/bin/ruff check && $(VENV)/bin/ruff format --check

check-types:
	@$(VENV)/bin/mypy

check-tests:
	@$(VENV)/bin/pytest -m fast --quiet --numprocesses 2 --dist worksteal

# On the Python of [testenv:tests] a product-py between the ends shows nothing that tests does not show.
SHOWN := import sys; print("^product-py3%d$$" % sys.version_info[1] if 9 < sys.version_info[1] < 13 else "^$$")

test: $(VENV)/tox.stamp  ## all that CI runs; tox.ini names the parts
	@PATH="$$PATH$$(printf ':%s' $$HOME/.pyenv/versions/*/bin)" TOX_SKIP_ENV="$$($(VENV)/bin/python -c '$(SHOWN)')" \
		$(VENV)/bin/tox run-parallel --parallel 2 --parallel-no-spinner

test-cinder: $(VENV)/tox.stamp  ## the Cinder driver and the os-brick connector on four OpenStack releases
	@PATH="$$PATH$$(printf ':%s' $$HOME/.pyenv/versions/*/bin)" $(VENV)/bin/tox run -e cinder-yoga,cinder-2023,cinder-2026,cinder-newest

RELEASES ?= yoga 2023 2026

cinderlib-functional: $(VENV)/tox.stamp  ## cinderlib's own functional tests on our driver; root, for loop devices
	@for release in $(RELEASES); do \
		PATH="$$PATH$$(printf ':%s' $$HOME/.pyenv/versions/*/bin)" $(VENV)/bin/tox run --quiet -e cinder-$$release \
			-- tests/cinder/cinderlib_functional.py || exit; \
	done

requirements: $(VENV)/bin/pip  ## the versions and hashes of what README installs; requirements/README.md
	$(INSTALL) uv
	$(COMPILE) --extra engine --extra admin --output-file requirements/engine.txt >/dev/null
	$(COMPILE) --extra host --output-file requirements/host.txt >/dev/null

man: $(VENV)/check.stamp  ## manual pages and what shells complete, as packages have them, below build/share/
	@rm -rf build/share
	@$(VENV)/bin/python packaging/manuals.py setup.py "$$PWD" build/share "$$(git show -s --format=%ct HEAD)"

rpm: $(VENV)/bin/pip  ## the packages for EL of what git has here, in dist/; rpmbuild is needed
	@$(VENV)/bin/python packaging/build_rpm.py

release: $(VENV)/bin/pip  ## CHANGELOG's section, source archive, wheel, packages, Ansible collection and checksums in dist/, a commit and a tag
	$(INSTALL) --requirement requirements/build.in
	@$(VENV)/bin/python packaging/release.py

clean:
	rm -rf $(VENV) .tox .demo build dist *.egg-info

$(VENV)/demo.stamp: $(VENV)/bin/pip $(NEEDS)
	$(INSTALL) --editable '.[demo]'
	@touch $@

$(VENV)/check.stamp: $(VENV)/bin/pip $(NEEDS)
	$(INSTALL) --editable '.[dev]'
	@touch $@

$(VENV)/tox.stamp: $(VENV)/bin/pip $(NEEDS)
	$(INSTALL) tox
	@touch $@

$(VENV)/bin/pip:
	@$(PYTHON) -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 9))' >/dev/null 2>&1 || { \
		echo "$(PYTHON) is not here, is older than 3.9 or has no venv: install one (dnf install python3.12; on Debian" \
			"apt install python3-venv), and name it, as in  make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
