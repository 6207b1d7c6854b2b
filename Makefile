# `make` or `make help` lists what can be done here.

GO      ?= go
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)

# Packages whose integers come from the wire or the disk; they must also hold where an int
# has 32 bits, as on the older Raspberry Pis.
NARROW := ./protocol/... ./internal/cbor/... ./devices/... ./store/chunk ./store/rollup

# The tests of the store that open what may be on a card: older, damaged, with
# large pages, cut down by retention, and whatever the model comes to.
NARROW_STORE := IsAMap|Damage|Unreadable|Garbage|Flips|LargePages|Older|Upgrade|Retention|Compact

# x86-64 kernels run 32-bit programs themselves, others ask the emulator.
RUN_386 := $(if $(filter x86_64,$(shell uname -m)),,-exec qemu-i386-static)

# Debian keeps servers where an ordinary user's PATH does not look.
export PATH := $(PATH):/usr/sbin:/sbin

.DEFAULT_GOAL := help
.NOTPARALLEL: # two cores are busy with one step, and its output stays readable
.PHONY: help build demo test setup lint race crash narrow arm bench

help: ## list the targets
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 10

build: ## build hearthgate and hearthgate-sim for this machine into bin/
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '-X main.version=$(VERSION)' -o bin/hearthgate ./cmd/gateway
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '-X main.version=$(VERSION)' -o bin/hearthgate-sim ./cmd/device-sim

demo: ## run a gateway with a simulated home; nothing to set up, Ctrl-C ends it
	$(GO) run ./cmd/gateway demo

test: setup lint race crash narrow ## everything that must pass before a change lands

setup: ## install what the tests need (Debian packages, Node-RED), if it is missing
	@scripts/setup-tests.sh
	@scripts/setup-node-red.sh

lint: ## formatting, go vet, staticcheck
	@unformatted=$$(gofmt -l .); if [ -n "$$unformatted" ]; then \
		echo "not formatted, run gofmt -w on:"; echo "$$unformatted"; exit 1; fi
	$(GO) vet ./...
	$(GO) tool -modfile=tools/go.mod staticcheck ./...

race: ## all tests under the race detector, the ARM builds under emulation among them
	CGO_ENABLED=1 $(GO) test -race -timeout 10m ./...

crash: ## the store's power cuts and kills in full number (IMAGES=1000000: as many cuts), without the race detector
	IMAGES=$(IMAGES) $(GO) test -count 1 -timeout $(if $(IMAGES),24h,10m) -run 'PowerCut|Kill|StoreIsAMap' ./store/...

narrow: ## tests of the packages that read the wire and the disk, with 32-bit integers
	CGO_ENABLED=0 GOARCH=386 $(GO) test $(RUN_386) -timeout 5m $(NARROW)
	CGO_ENABLED=0 GOARCH=386 $(GO) test $(RUN_386) -timeout 5m -run '$(NARROW_STORE)' ./store

arm: ## static binaries for arm64, armv7, armv6 and amd64 into dist/
	deploy/arm/build.sh

bench: ## measure beside other servers, if the benchmark is here
	@if [ -x bench/run.sh ]; then bench/run.sh; else echo "bench/run.sh is not in this checkout"; exit 1; fi
