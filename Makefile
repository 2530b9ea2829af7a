# A thin door over Meson and Ninja; docs/building.md tells what is behind it. `make help` lists the targets.

BUILD ?= build
PREFIX ?= /usr/local
JOBS ?= $(shell nproc 2>/dev/null || echo 2)

.PHONY: all setup demo test bench tidy node install uninstall clean help

all: setup $(BUILD)/build.ninja ## build the library and build/cenote (release)
	@ninja -C $(BUILD) -j $(JOBS) --quiet

setup: ## install what the build needs and is missing
	@tools/setup build

$(BUILD)/build.ninja:
	@meson setup $(BUILD) --buildtype=release --prefix=$(abspath $(PREFIX)) -Dtests=false -Dbench=false >/dev/null \
	  || { cat $(BUILD)/meson-logs/meson-log.txt; rm -f $@; exit 1; }

demo: all ## set up, build, run the load test on an embedded SQLite database
	@tools/demo $(BUILD)/cenote

test: ## set up, then every test; STAGES="gcc tidy" runs some
	@tools/setup build test
	@tools/test $(STAGES)

bench: all ## compare with peers; writes build/bench.json
	@tools/setup build bench
	@bench/run

node: ## pack the npm package, with its addon: build/cenote-VERSION.tgz
	@tools/setup build node
	@JOBS=$(JOBS) tools/node-package $(BUILD)

tidy: ## check floors, lengths, banned calls, layout; clang-tidy, cppcheck, shellcheck
	@tools/setup build test
	@tools/tidy

install: all ## install to PREFIX (default /usr/local); DESTDIR is respected
	@meson configure $(BUILD) --prefix=$(abspath $(PREFIX)) >/dev/null && ninja -C $(BUILD) build.ninja >/dev/null
	@meson install -C $(BUILD) --quiet || { \
	  echo "cannot install to $(DESTDIR)$(abspath $(PREFIX)): where rights are missing, 'sudo make install' or PREFIX=\$$HOME/.local" >&2; exit 1; }
	@if [ -z "$(DESTDIR)" ] && [ "$$(id -u)" = 0 ] && command -v ldconfig >/dev/null; then ldconfig; fi

uninstall: ## remove what the last `make install` put there
	@ninja -C $(BUILD) --quiet uninstall | grep -v '^Deleted: /\|^Remember\|^$$'

clean: ## remove everything that was built
	rm -rf $(BUILD)

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
