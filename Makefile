# Thin names for what ./penstock does.
.PHONY: demo up test lint bench

demo up test:
	./penstock $@

bench:
	./penstock bench jobs

lint:
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/lint-imports
	.venv/bin/mypy
