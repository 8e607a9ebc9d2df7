# Thin names for what ./penstock does.
.PHONY: demo up test lint bench chaos chaos-postgresql soak

demo up test:
	./penstock $@

bench:
	./penstock bench jobs

chaos:
	.venv/bin/python -m tests.chaos --seconds 480
	.venv/bin/python -m pytest tests/integration -m long

chaos-postgresql:
	.venv/bin/python -m tests.chaos --seconds 480 --database postgresql

soak:
	.venv/bin/python -m tests.chaos.soak

lint:
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/lint-imports
	.venv/bin/mypy
