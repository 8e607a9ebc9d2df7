"""What the parts load when they start: memory at rest is a promise, and an import at the top of a file breaks it."""

import subprocess
import sys

import pytest

SERVERS = {"flask", "granian", "marshmallow", "starlette", "uvicorn"}
SELDOM = {"PIL", "alembic", "boto3", "cryptography", "httpx", "psycopg", "pyarrow", "requests", "smtplib"}
"""For images, migrations, S3, Parquet, mail and PostgreSQL: loaded by the function that needs them."""
RUNTIMES = {"onnxruntime", "sklearn", "tensorflow", "torch", "transformers", "xgboost"}
TOOLS = {"IPython", "flask.testing", "matplotlib", "pandas", "pdb", "pytest", "unittest"}
BY_CHANCE = {"attr", "brotli", "cffi", "opentelemetry.sdk", "rich", "yaml"}
"""What libraries take up when it happens to be installed."""

EVERYWHERE = SELDOM | RUNTIMES | TOOLS
UNWANTED = {
    "import workers.launch": EVERYWHERE | SERVERS | BY_CHANCE | {"celery", "msgspec", "numpy", "redis", "sqlalchemy"},
    "from workers.launching import cradle; cradle.load()": EVERYWHERE | BY_CHANCE,
    "import api.live.server, api.live.app, inference.wiring": EVERYWHERE | {"celery", "granian", "kombu"},
    "import workers.tasks.control, workers.ticker, workers.node, workers.tasks.run": EVERYWHERE | SERVERS,
}


@pytest.mark.parametrize("start", UNWANTED)
def test_a_part_that_starts_loads_nothing_that_few_have_a_use_for(start):
    code = f"import sys; {start}; print(*sys.modules)"

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    assert not UNWANTED[start] & set(done.stdout.split())
