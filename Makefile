# untorn. `make help` lists the targets.
GO       ?= go
FUZZTIME ?= 2s
PKGS     := ./...
ROUNDS   ?= 200
DIR      ?= out/torture
BASE     ?= HEAD
SOAK     ?= 10m

.DEFAULT_GOAL := help
.PHONY: explore-test explore-ci help build vet lint unit race fuzz cross test bench bench-go bench-compare soak explore torture formats nvme powercut cover clean rivals

help: ## list the targets
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## the three commands into bin/
	$(GO) build -o bin/ ./cmd/...

vet: ## gofmt and go vet
	@test -z "$$(gofmt -l . | tee /dev/stderr)"
	$(GO) vet $(PKGS)

lint: vet ## gofmt, vet and staticcheck
	$(GO) tool staticcheck $(PKGS)

unit: ## tests without the race detector: quick
	$(GO) test -short $(PKGS)

race: ## all tests, with the race detector, but the explorer's, which take minutes (make explore-test)
	$(GO) test -race -timeout 8m $$($(GO) list $(PKGS) | grep -v /explore$$)

explore-test: ## the explorer's own tests: the engine holds, every mutant is convicted
	$(GO) test -timeout 20m -v ./explore

# At the end of -fuzztime the go command's own coordinator can race with its context and fail a target with
# nothing but "context deadline exceeded" (golang/go#75804). That failure alone, which wrote no failing input, is
# tried again, twice at most: an input that hangs fails each time.
fuzz: ## every fuzz target for FUZZTIME
	@set -e; for p in $$($(GO) list $(PKGS)); do \
	  for f in $$($(GO) test -list '^Fuzz' $$p | grep '^Fuzz' || true); do \
	    echo "fuzz $$p $$f"; \
	    for try in 1 2 3; do \
	      $(GO) test -run '^$$' -fuzz "^$$f\$$" -fuzztime $(FUZZTIME) -parallel 2 $$p >.fuzz.log 2>&1 && break; \
	      if [ $$try = 3 ] || grep -q 'ailing input' .fuzz.log || ! grep -qx ' *context deadline exceeded' .fuzz.log; then \
	        cat .fuzz.log; rm -f .fuzz.log; exit 1; \
	      fi; \
	      echo "  context deadline exceeded, and no failing input: again"; \
	    done; \
	  done; done; rm -f .fuzz.log

cross: ## builds for linux/arm64 and darwin/arm64, tests included
	GOOS=linux GOARCH=arm64 $(GO) vet $(PKGS)
	GOOS=darwin GOARCH=arm64 $(GO) vet $(PKGS)

test: lint race fuzz cross ## all of the above: what CI runs

bench: build ## every mode beside the drive's limit, with an HTML report
	bin/untornbench

bench-go: ## go test benchmarks, for benchstat
	$(GO) test -run '^$$' -bench . -benchmem $(PKGS)

bench-compare: ## go test benchmarks of this tree and of BASE, in turns (BENCH, BENCHTIME, COUNT, PACKAGES: bench/gobench.sh)
	GO=$(GO) bench/gobench.sh $(BASE)

soak: ## SOAK of mixed load: memory stays what it was at open
	UNTORN_SOAK=$(SOAK) $(GO) test -count 1 -timeout 0 -run '^TestMemoryStaysFixed$$' -v ./bench

rivals: ## etcd wal, raft-wal, pebble, tidwall/wal, bbolt and SQLite beside untorn, in one run (a module of its own)
	cd bench/rivals && $(GO) run . -dir $(CURDIR)

explore: build ## every reachable crash state, longer than the tests do
	bin/untornctl explore -mode doublewrite -budget 5m

explore-ci: build ## a bounded share of the explorer, the same seeds on every machine: modes, damage, soak, the quick mutants (3 minutes)
	bin/untornctl explore -mode doublewrite -steady -seed 1 -runs 12 -budget 25s
	for m in fullpage shadow atomic; do bin/untornctl explore -mode $$m -steady -seed 1 -runs 6 -budget 12s || exit 1; done
	for m in doublewrite fullpage shadow; do bin/untornctl explore -corrupt -mode $$m -steady -seed 1 -runs 3 -budget 12s || exit 1; done
	for m in doublewrite fullpage shadow atomic; do bin/untornctl explore -soak -mode $$m -steady -seed 1 -runs 10 -budget 12s || exit 1; done
	$(GO) test -count=1 -short -timeout 15m ./explore

torture: build ## ROUNDS kills in DIR, on the file system it lies on
	bin/untornctl torture -dir $(DIR) -rounds $(ROUNDS) -mode doublewrite

formats: ## untornctl verify -format against pg_checksums and innochecksum, on clusters made here (minutes; skipped without the servers' packages)
	$(GO) test -count=1 -timeout 10m -v -run TestReal ./tablespace -formats

nvme: ## hwprobe and the atomic mode on emulated NVMe drives in a small virtual machine
	$(GO) run ./hwprobe/nvmebed

powercut: ## power cuts on ext4 and XFS by block-log replay, in a small virtual machine; root, minutes
	$(GO) run ./powercut
	$(GO) run ./powercut -pull 3

cover: ## coverage of the whole module by all tests
	$(GO) test -short -coverpkg=./... -coverprofile=out.cover $(PKGS)
	$(GO) tool cover -func=out.cover | tail -1
	@rm -f out.cover

clean: ## remove what the targets made
	rm -rf bin out .fuzz.log
