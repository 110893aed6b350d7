.PHONY: help demo test bench protos frontend-image

help: ## What can be made
	@grep -E '^[a-z-]+:.*##' Makefile | sed -E 's/:.*## /\t/'

demo: ## Set everything up and build a real dev image over a lazily mounted base
	@scripts/demo

test: ## Set everything up and run all checks and tests
	@scripts/test

bench: ## Measure, and write a table and JSON to bench/results
	@scripts/bench

protos: ## Write the protobuf stubs anew from lazybuild/wire/proto
	@$(or $(PYTHON),python3) scripts/protos

frontend-image: ## Build the image for `# syntax=`; NAME=where it is kept, FLAGS=--push
	@scripts/frontend-image $(or $(NAME),localhost:5000/lazybuild-frontend) $(FLAGS)
