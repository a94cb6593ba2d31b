# `make` alone lists the targets. Each is a script in scripts/, which also runs without make.
.DEFAULT_GOAL := help
.PHONY: help setup build demo test check bundle format clean

help:
	@echo 'make setup    fetch what candela needs (compiler, libraries, WebGPU, test tools)'
	@echo 'make build    set-up and release build: build/release/candela'
	@echo 'make demo     set-up, build, and an answer streamed from a small model on WebGPU'
	@echo 'make test     set-up, build with warnings as errors, the whole test suite, format, lint'
	@echo 'make check    make test, then sanitizers, lint of everything, fuzzers'
	@echo 'make bundle   a folder and archive that run on another Linux machine: dist/'
	@echo 'make format   format the C++ sources'
	@echo 'make clean    remove build products (fetched things in .deps stay)'

setup:
	@scripts/setup test

build:
	@scripts/setup build
	@scripts/build candela

demo:
	@scripts/demo

test:
	@scripts/test

check:
	@scripts/check

bundle:
	@scripts/bundle

format:
	@scripts/format --write

clean:
	rm -rf build dist
