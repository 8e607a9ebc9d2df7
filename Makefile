# Thin names for what ./penstock does.
.PHONY: demo up test lint bench chaos soak

demo up test:
	./penstock $@

bench:
	./penstock bench jobs

chaos:
	.venv/bin/python -m tests.chaos --seconds 480
	.venv/bin/python -m pytest tests/integration -m long

soak:
	.venv/bin/python -m tests.chaos.soak

lint:
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/lint-imports
	.venv/bin/mypy
