# make book and make test set up all they need; make help lists the rest.
#   PYTHON=python3.12   the interpreter that makes .venv (3.11 or newer)
#   CONSTRAINTS=        install the newest versions that pyproject.toml allows, not the tested ones

PYTHON ?= python3
CONSTRAINTS ?= constraints.txt
VENV := .venv
BIN := $(VENV)/bin
# The set-up is done again when what it reads has changed in content, whatever the files' times say.
SETUP := $(VENV)/.installed-$(shell cat pyproject.toml constraints.txt | cksum | cut -d ' ' -f 1)
# The execution cache knows the notebooks only; this is all else that their results follow from.
INPUTS = find facelib book/results constraints.txt -type f ! -path '*/__pycache__/*' ! -name '.*' \
	| LC_ALL=C sort | xargs cksum | cksum | cut -d ' ' -f 1
# What the live pages' networks and faces are made of: they are made again when one of these has changed.
LIVE := _live/.made-$(shell find facelib/*.py facelib/data facelib/methods facelib/weights tools/live.py tools/latents.py \
	tools/quiz.py book/results/editing.json constraints.txt -type f ! -path '*/__pycache__/*' | LC_ALL=C sort | xargs cksum \
	| cksum | cut -d ' ' -f 1)
WHAT := .[book,photos,train,export,judges,teach,test]
NOTEBOOKS := $(wildcard book/*.ipynb)
# Tests that open built pages in a browser; the unit tests are all others but those of built pages and of Colab.
IN_BROWSER := tests/test_browser.py tests/test_accessible.py tests/test_live.py tests/test_live_latents.py
# Tests share out the cores and take one thread each: tiny networks gain nothing from a second one.
SHARED := env OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n logical --maxprocesses 4 --dist worksteal
# A page's live cells must not depend on which data this machine happens to have.
BUILD_ENV = env -u FACELIB_DATA PATH="$(CURDIR)/$(BIN):$$PATH"

# $(call step,what,command): says what is being done, does it, says how long it took; stops where the command fails.
step = @printf '\n==> %s\n' "$(1)"; t=$$(date +%s); if $(2); then \
	printf '<== %s: %s s\n' "$(1)" $$(( $$(date +%s) - t )); else \
	printf '<== %s: FAILED after %s s\n' "$(1)" $$(( $$(date +%s) - t )) >&2; exit 1; fi

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help setup book book-instructor test lint unit notebooks colab built browser assignment grade publish-url clean

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## */\1|/' \
		| while IFS='|' read -r name what; do printf '  make %-15s %s\n' "$$name" "$$what"; done

setup: $(SETUP)  ## make .venv and install everything into it

$(SETUP): | $(BIN)/python
	$(call step,installing facelib and what it needs into $(VENV) (2 minutes or so and 7 GB the first time), \
		$(BIN)/python -m pip install --quiet --disable-pip-version-check $(addprefix -c ,$(CONSTRAINTS)) \
			-e '$(WHAT)')
	@rm -f $(VENV)/.installed-*; touch $@

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
		echo "Python 3.11 or newer is needed; $(PYTHON) is $$($(PYTHON) --version 2>&1 || echo not there)." >&2; \
		echo "Say which one to use: make $(MAKECMDGOALS) PYTHON=python3.12" >&2; exit 1; }
	$(call step,making $(VENV), $(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); false; })

# MathJax and the widgets' scripts are kept with the pages where npm is there, so that they show offline too; without npm the
# pages name the scripts' public addresses.
_vendor/done: tools/vendor.sh book/static/live/version.js
	$(call step,fetching MathJax and the scripts of widgets and live pages, sh tools/vendor.sh)

$(LIVE): | $(SETUP)
	@rm -rf _live
	$(call step,exporting the networks of the live pages, $(BUILD_ENV) $(BIN)/python tools/live.py _live/live)
	@touch $@

book: $(SETUP) _vendor/done $(LIVE)  ## run the notebooks and build the book into _build/html, warnings are errors
	@mkdir -p _build; key=$$($(INPUTS)); if [ ! -e _build/.inputs-$$key ]; then \
		echo "==> the package or the results have changed: all notebooks run again"; \
		rm -rf _build/html _build/.doctrees _build/instructor _build/.jupyter_cache _build/.inputs-*; touch _build/.inputs-$$key; fi
	$(call step,running the notebooks and building _build/html, \
		$(BUILD_ENV) $(BIN)/jupyter-book build . --path-output . -W --keep-going --quiet \
			|| { rm -rf _build/.doctrees _build/html; false; })
	@echo "    open _build/html/index.html"

# Jupyter Book writes below _build of the folder that it is given: here that is the folder itself.
book-instructor: book  ## the same with solutions, for those who teach, into _build/instructor/html
	@mkdir -p _build/instructor; ln -sfn . _build/instructor/_build
	$(call step,building the instructors' edition with what the notebooks have left, \
		FACELIB_BOOK=instructor $(BUILD_ENV) $(BIN)/jupyter-book build . --path-output _build/instructor -W --keep-going --quiet \
			|| { rm -rf _build/instructor; false; })
	@echo "    open _build/instructor/html/index.html; do not publish it"

test: lint unit colab built browser  ## every test: lint, unit, the chapters as on Colab, the built book, the browser
	@printf '\n==> every test passed\n'

lint: $(SETUP)  ## ruff
	$(call step,reading the code with ruff, $(BIN)/ruff check .)

unit: $(SETUP)  ## the package's tests
	$(call step,unit tests, $(SHARED) --durations=8 \
		$(addprefix --ignore=,tests/test_book.py tests/test_instructor.py tests/test_colab.py $(IN_BROWSER)))

# A machine like Colab's is kept in _build/colab. The chapters have run in .venv for the book: make test need not do so twice.
colab: $(SETUP)  ## every chapter on a machine like Colab's: its Python and packages, no data, outside the repository
	$(call step,running every chapter as on Colab (3 minutes and 6 GB more the first time), \
		$(BUILD_ENV) $(SHARED) -rs --durations=4 tests/test_colab.py)

notebooks: $(SETUP)  ## every cell of every notebook, run with nbval in .venv: quicker than colab
	$(call step,running every cell with nbval, \
		$(BUILD_ENV) $(BIN)/python -m pytest -q --nbval-lax --nbval-current-env --nbval-cell-timeout=600 $(NOTEBOOKS))

built: book book-instructor  ## tests of the built pages
	$(call step,testing the built pages, $(BIN)/python -m pytest -q tests/test_book.py tests/test_instructor.py)

browser: book  ## every page in a browser, desktop and phone
	$(call step,looking for a browser, $(BIN)/python tools/browser.py)
	$(call step,opening every page in the browser, $(SHARED) $(IN_BROWSER))

assignment: $(SETUP)  ## NAME=completing: the students' version of an assignment, into _build/assignments
	@$(BIN)/python tools/grade.py release "$(NAME)"

grade: $(SETUP)  ## NAME=completing SUBMISSIONS=folder [OUT=grades.csv FORCE=1 JOBS=2 MINUTES=20]: grade STUDENT.ipynb
	@$(BIN)/python tools/grade.py grade "$(NAME)" "$(SUBMISSIONS)" $(if $(OUT),--out "$(OUT)") $(if $(FORCE),--force) \
		$(if $(JOBS),--jobs $(JOBS)) $(if $(MINUTES),--minutes $(MINUTES))

publish-url:  ## URL=https://github.com/OWNER/NAME: carry the repository's address everywhere
	@$(PYTHON) tools/publish_url.py $(URL)

clean:  ## remove _build and _live; .venv stays
	rm -rf _build _live
