# What a person types. What these do beyond one command is in xtask/.
CARGO ?= cargo
PODMAN ?= podman
IMAGE ?= localhost/osc-operator:latest
NODE_IMAGE ?= localhost/osc-node:latest
NODE_TARGET ?= osc-node
WEBHOOK_IMAGE ?= localhost/osc-webhook:latest
CARGO_TARGET_DIR ?= target
# Arguments of `osc demo`, for instance: make demo ARGS=--help
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help demo test lint manifests bench image image-node image-webhook clean install

help: ## Shows this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# The first build shows its progress; afterwards there is nothing to show.
demo: ## Installs and removes Kata on an embedded cluster; arguments by ARGS=...
	@if [ -x "$(CARGO_TARGET_DIR)/debug/osc" ]; then $(CARGO) build --quiet --locked --package osc; \
	else $(CARGO) build --locked --package osc; fi
	@"$(CARGO_TARGET_DIR)/debug/osc" demo $(ARGS)

test: ## Installs what the tests need (a control plane is built once, some minutes), then runs all checks and tests
	hack/test-deps.sh
	$(CARGO) xtask check
	@echo "control plane: $$(hack/control-plane.sh)"
	$(CARGO) test --workspace --locked

lint: ## Runs clippy as the checks do
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings

manifests: ## Writes deploy/ from the Rust types
	$(CARGO) xtask manifests

bench: ## Runs the benchmarks
	$(CARGO) bench --locked --package osc-engine --package osc-operator --package osc-admission

image: ## Builds the operator's image; its name by IMAGE=...
	$(PODMAN) build --file Containerfile --tag $(IMAGE) .

image-node: ## Builds the node agent's image; its name by NODE_IMAGE=..., with a bundle by NODE_TARGET=osc-node-with-bundle
	$(PODMAN) build --file Containerfile --target $(NODE_TARGET) --tag $(NODE_IMAGE) .

image-webhook: ## Builds the image of the webhook of peer pods; its name by WEBHOOK_IMAGE=...
	$(PODMAN) build --file Containerfile --target osc-webhook --tag $(WEBHOOK_IMAGE) .

clean: ## Removes what was built
	$(CARGO) clean

install: ## Installs osc, also as kubectl-osc, into ~/.cargo/bin
	$(CARGO) install --locked --path crates/cli
	ln -sf osc "$${CARGO_HOME:-$$HOME/.cargo}/bin/kubectl-osc"
