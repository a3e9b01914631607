# The only place that knows the order of things.
#
#   make run     blank disk -> restore -> restart -> Linux from P1 -> Clean; BREAK=mbr|p1|p2|both
#                damages the disk first, FRESH=1 begins with a blank one, LOGIC=FILE takes another flow
#   make test    every test there is on this machine
#   make bench   what it costs, against floors and others; BENCH=handoff|restore|verify|heal|growth runs
#                a part, TRACE=1 shows every BIOS call of a hand-off, PROFILE=1 whose instructions it takes
#   make cuts    the power goes at every write of every path, and again (docs/RELIABILITY.md); SCENARIO=TEXT
#                takes those with that in their name, REPLAY=PLACE plays one again
#   make defects core makes mistakes on purpose, and the same rules have to catch each
#   make reliability  all of these, and what came of it in docs/RELIABILITY.md
#   make wrong-disk  every order of up to four disks with every state of the target, in memory and on QEMU:
#                hours; `make test` runs a choice of them
#   make owners  disks that have an owner, and disks that are ours, by other people's tools: SEED=N and COUNT=N for
#                another choice than the one in `make test`, CASE=NAME plays one again
#   make fuzz    hostile bytes for every parser, each for SECONDS=600; TARGET=ext one alone, SANITIZER=address
#                with every access to memory checked; ends with a table (docs/FUZZING.md)
#   make miri    the parsers' tests under Miri, where a toolchain has it
#   make docs    draws every iso/logic/NAME.txt into docs/logic/NAME.svg
#   make iso     the demo's CD alone: target/knownstate.iso
#   make lint    formatting and clippy, as CI wants them
#   make setup   installs what the others need (they do it by themselves)

LOGIC ?= iso/logic/default.txt
BREAK ?=
FRESH ?=
SCENARIO ?=
REPLAY ?=
SEED ?=
COUNT ?=
CASE ?=
TARGET ?=
SECONDS ?= 600
SANITIZER ?= none

OUT := target
APPLIANCE := $(OUT)/appliance
KNOWNSTATE := $(OUT)/release/knownstate
ISO := $(OUT)/knownstate.iso
BSTATE := $(OUT)/i686-unknown-linux-gnu/agent/bstate

# rustup's toolchain where it has the standard library's source, else Debian's: one compiler for all.
RUST_SOURCE = $(wildcard $(shell rustc --print sysroot 2>/dev/null)/lib/rustlib/src/rust/library/core/src/lib.rs)
CARGO = $(if $(RUST_SOURCE),cargo,RUSTC=/usr/bin/rustc RUSTDOC=/usr/bin/rustdoc /usr/bin/cargo)

# EXTLINUX installs itself into a mounted filesystem only, and only root can mount one.
SUDO := $(if $(filter 0,$(shell id -u)),,sudo)

.PHONY: run test cuts defects reliability wrong-disk owners bench fuzz miri docs draw iso lint setup host appliance appliance-ext4 clean
.PHONY: run-tests run-cuts run-defects run-wrong-disk run-owners run-bench run-lint run-fuzz
.DELETE_ON_ERROR:

run:
	@./setup.sh run
	@$(MAKE) --no-print-directory iso
	@LOGIC=$(LOGIC) BREAK=$(BREAK) FRESH=$(FRESH) iso/run.sh $(ISO) $(OUT)/disk.img $(APPLIANCE)/arch

# The cheapest tests come first: cargo runs the files of tests/ in the order of their names.
test:
	@./setup.sh test
	@$(MAKE) --no-print-directory iso appliance-ext4
	@$(MAKE) --no-print-directory run-tests

# Recipes are expanded as a whole before they run: what setup.sh has just installed is seen by another make.
# The round of fuzzing comes last: the tests make what it begins with.
run-tests:
	$(CARGO) test --workspace --release
	@$(MAKE) --no-print-directory run-cuts run-defects
	CARGO="$(CARGO)" tests/fuzz/run.sh round

cuts:
	@./setup.sh test
	@$(MAKE) --no-print-directory host run-cuts

run-cuts:
	$(CARGO) build --release -p knownstate-cuts
	$(OUT)/release/cuts $(if $(REPLAY),--replay '$(REPLAY)',$(if $(SCENARIO),--only '$(SCENARIO)'))

defects:
	@./setup.sh test
	@$(MAKE) --no-print-directory host run-defects

# In a folder of its own: nothing that was built so is ever beside what people use.
run-defects:
	$(CARGO) build --release -p knownstate-cuts --features seeded-defects --target-dir $(OUT)/defects
	$(OUT)/defects/release/cuts --defects

reliability:
	@./setup.sh test
	@$(MAKE) --no-print-directory host
	@CARGO="$(CARGO)" tests/reliability.sh

wrong-disk:
	@./setup.sh test
	@$(MAKE) --no-print-directory run-wrong-disk

run-wrong-disk:
	WRONG_DISK=all $(CARGO) test --release --test wrong_disk -- --nocapture
	WRONG_DISK=all $(CARGO) test --release --test qemu wrong_disk -- --nocapture

owners:
	@./setup.sh test
	@$(MAKE) --no-print-directory run-owners

run-owners:
	OWNERS_SEED=$(SEED) OWNERS_COUNT=$(COUNT) OWNERS_CASE=$(CASE) \
	    $(CARGO) test --release --test owners -- --nocapture $(if $(CASE),nothing_of every_disk)

fuzz:
	@./setup.sh test
	@$(MAKE) --no-print-directory run-fuzz

run-fuzz:
	$(CARGO) test --release --test fuzzing
	CARGO="$(CARGO)" SANITIZER=$(SANITIZER) tests/fuzz/run.sh long $(SECONDS) $(TARGET)

miri:
	@tests/fuzz/miri.sh

bench:
	@./setup.sh bench
	@$(MAKE) --no-print-directory run-bench

run-bench:
	KNOWNSTATE_LOADER_FEATURES=bench-no-read-back $(CARGO) build --release --target-dir $(OUT)/no-read-back
	BENCH=$(BENCH) TRACE=$(TRACE) PROFILE=$(PROFILE) $(CARGO) bench --bench bench

docs:
	@./setup.sh test
	@$(MAKE) --no-print-directory draw

draw: host
	mkdir -p docs/logic
	for logic in iso/logic/*.txt; do $(KNOWNSTATE) draw $$logic -o docs/logic/$$(basename $$logic .txt).svg || exit 1; done

iso: host appliance
	$(KNOWNSTATE) build $(LOGIC) --images $(APPLIANCE) -o $(ISO)

host:
	$(CARGO) build --workspace --release

# bstate for the appliance: 32-bit, and static, because an initramfs has no libraries.
$(BSTATE): $(wildcard agent/src/*.rs core/hot/src/*.rs core/src/*.rs core/src/*/*.rs) Cargo.lock Cargo.toml
	RUSTC_BOOTSTRAP=1 RUSTFLAGS="-C target-feature=+crt-static" $(CARGO) build --profile agent -p bstate \
	    -Zbuild-std=std,panic_abort --target i686-unknown-linux-gnu
	@touch $@

appliance: $(APPLIANCE)/system.img
appliance-ext4: $(APPLIANCE)/system-ext4.img

APPLIANCE_SOURCES := $(shell find iso/appliance -type f)
$(APPLIANCE)/system.img: $(BSTATE) $(APPLIANCE_SOURCES)
	iso/appliance/build.sh $(APPLIANCE) $(BSTATE)
$(APPLIANCE)/system-ext4.img: $(BSTATE) $(APPLIANCE_SOURCES)
	$(SUDO) iso/appliance/build.sh $(APPLIANCE) $(BSTATE) ext4
	$(SUDO) chown -R $$(id -u) $(APPLIANCE)

lint:
	@./setup.sh test
	@$(MAKE) --no-print-directory run-lint

run-lint:
	$(CARGO) fmt --all --check
	cd stage2 && $(CARGO) fmt --check
	cd tests/fuzz && $(CARGO) fmt --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings

setup:
	@./setup.sh test

clean:
	rm -rf $(OUT)
