# Every target first installs what is missing (Scripts/prepare).

PREFIX ?= /usr/local

.PHONY: help demo test build mpi install uninstall dist lint format bench clean prepare

help:
	@echo "make demo       fine-tune a small model on a small dataset, and compare its answers"
	@echo "make test       check formatting, build, and run every test"
	@echo "make build      build the command: .build/release/swiftlet"
	@echo "make install    install it with completions and a manual page [PREFIX=/usr/local] [DESTDIR=]"
	@echo "make uninstall  remove what make install installed [PREFIX=/usr/local] [DESTDIR=]"
	@echo "make dist       build a tarball and a .deb that need no Swift toolchain"
	@echo "make bench      measure this machine, and Swiftlet on it"
	@echo "make format     format the sources"
	@echo "make lint       check formatting"
	@echo "make clean      remove build products"

prepare:
	@Scripts/prepare

# The bridge to the installed MPI, for tests and for runs over several processes.
mpi: prepare
	@Scripts/build-mpi .build/libswiftlet_mpi.so

build: prepare
	Scripts/build --product swiftlet

demo: build
	@model=$$(Scripts/obtain-base-model) && .build/release/swiftlet demo --model "$$model"

# Does not build: `make build && sudo make install` then needs no toolchain as root.
install:
	@[ -x .build/release/swiftlet ] || $(MAKE) build
	@DESTDIR="$(DESTDIR)" Scripts/install "$(PREFIX)"

uninstall:
	@DESTDIR="$(DESTDIR)" Scripts/install --uninstall "$(PREFIX)"

dist: prepare
	Scripts/dist

test: lint
	@Scripts/prepare --tests
	Scripts/build --build-tests
	@Scripts/obtain-base-model >/dev/null || echo "The tests that need the real model will be skipped." >&2
	@Scripts/test

bench: build
	.build/release/swiftlet bench

lint: prepare
	swift format lint --strict --recursive --parallel Package.swift Sources Tests
	@Scripts/format-c --check

format: prepare
	swift format --in-place --recursive --parallel Package.swift Sources Tests
	@Scripts/format-c

clean:
	swift package clean
	rm -rf .build/dist dist
