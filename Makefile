# The one entry to everything. `make run` and `make test` are all a newcomer needs; both install what is missing.
#
# Everything that Rust builds goes to one folder that all checkouts on a machine share; set CARGO_TARGET_DIR to choose.
export CARGO_TARGET_DIR ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/buildspaces/target

WEB_SOURCES := $(shell find web/app -type f -not -path '*/node_modules/*' -not -path '*/dist/*' 2>/dev/null)
WEB_DIST := web/app/dist/index.html
EMBED_SOURCES := $(shell find web/embed client-wasm crdt/src -type f -not -path '*/node_modules/*' -not -path '*/dist/*' -not -path '*/pkg/*' 2>/dev/null)
EMBED := web/app/dist/embed.js

.PHONY: help run setup build test test-rust test-web e2e check format engine engine-stop agent image doctor api bench bench-full bench-calls bench-hot bench-sandbox bench-peers clean client embed

help: ## Shows this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 22

run: ## Installs what is missing, builds, starts, and prints the address
	@scripts/run

setup: ## Installs what is missing to build, run and test
	@scripts/setup --test

build: $(WEB_DIST) $(EMBED) ## Builds the web app, the elements for other sites, the sandbox agent and the server
	@scripts/build-agent >/dev/null
	@cargo build --locked --release --workspace --bin buildspaces

$(WEB_DIST): $(WEB_SOURCES) web/package-lock.json
	@scripts/setup
	@cd web && npm run build --silent
	@touch $@

# Where there is no compiler for it this looks again each time, which takes no time.
$(EMBED): $(WEB_DIST) $(EMBED_SOURCES)
	@scripts/build-embed
	@touch -c $@

test: setup ## Runs every test: Rust, web, and end to end with real browsers and a real Docker engine
	@$(MAKE) --no-print-directory client build
	@$(MAKE) --no-print-directory test-rust test-web e2e

test-rust: ## Runs the Rust tests
	@BUILDSPACES_TEST_YJS=1 scripts/with-engine cargo nextest run --locked --workspace --cargo-profile release

test-web: ## Runs the web app's unit tests
	@cd web && npm test --silent

e2e: ## Runs the end-to-end tests against what `make build` made
	@scripts/with-engine scripts/e2e

check: setup ## Looks at format, lints, types, and what the documents claim
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets -- -D warnings
	cargo nextest run --locked --package buildspaces --test tidy
	scripts/build-client
	cd web && npm run check --silent
	scripts/deny

format: ## Formats everything
	cargo fmt --all
	cd web && npm run format --silent

engine: ## Finds or starts a Docker engine, which turns runs on
	@scripts/engine start

engine-stop: ## Stops the private engine that `make engine` started
	@scripts/engine stop

agent: ## Builds the program inside the sandboxes and prints its path
	@scripts/build-agent

client: ## Builds the npm package @buildspaces/client in client-wasm/pkg
	@scripts/build-client

embed: client ## Builds the elements for pages of other sites in web/embed/dist
	@scripts/build-embed --needed

image: ## Builds the image of the sandboxes
	@scripts/image

doctor: build ## Says what the server finds on this machine and what is missing
	@scripts/run doctor

api: ## Writes the OpenAPI description and the web app's types from it
	@cargo run --locked --quiet --release --package buildspaces -- openapi > web/app/src/api/openapi.json
	@cd web/app && npm run api --silent

bench: build ## Measures our server beside others, in a quarter of an hour (TRACE=FILE: a recorded editing trace)
	@scripts/bench short

bench-full: build ## Measures everything, in about two hours
	@scripts/bench full

bench-calls: build ## Measures calls beside Janus and a bare forwarder, in some minutes
	@scripts/bench calls

bench-hot: ## Counts the instructions of the server's hot paths and fails above +5 % of what is stored (SAVE=1: stores)
	@scripts/bench-hot $(if $(SAVE),--save)

bench-sandbox: ## Measures sandboxes beside plain Docker, in some minutes
	@scripts/with-engine cargo bench --locked --quiet --workspace --bench speed

bench-peers: ## Installs the servers that ours is compared with
	@scripts/bench-peers

clean: ## Removes what was built in this checkout
	rm -rf web/app/dist web/embed/dist web/node_modules client-wasm/pkg
