"""What ONNX Runtime does beside running models: nothing."""

import os
import subprocess
import sys

import pytest

from benchmarks import models

pytest.importorskip("onnxruntime")

LOAD = """
import sys
from pathlib import Path
from inference.engines import catalog
from inference.engines.base import LoadSpec

catalog.find("onnx")(LoadSpec(path=Path(sys.argv[1])))
print("loaded")
"""


def test_an_engine_keeps_no_id_of_this_machine_and_nothing_to_be_sent_to_others(tmp_path):
    model = models.make("tiny", tmp_path)
    home = tmp_path / "home"
    home.mkdir()
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("ORT_", "XDG_"))}

    done = subprocess.run(
        [sys.executable, "-c", LOAD, str(model.path)],
        env={**environ, "HOME": str(home)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.stdout.strip(), done.returncode) == ("loaded", 0), done.stderr
    assert list(home.rglob("*")) == []
