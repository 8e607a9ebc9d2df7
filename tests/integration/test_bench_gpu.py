"""The unattended GPU run, here on the CPU with a card that is replayed: it ends well and says what it is."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MODELS = ("tiny", "medium", "large-cut")
CARD = {
    "facts": {"name": "a card of another day"},
    "readings": [{"busy_share": 0.9, "memory_bytes": 2 << 30, "power_w": 300.0}],
}


@pytest.mark.e2e
@pytest.mark.slow
def test_without_a_gpu_everything_is_measured_on_the_cpu_and_said_to_be(tmp_path: Path):
    (tmp_path / "kept.json").write_text(json.dumps({"card": CARD}))
    environ = {name: value for name, value in os.environ.items() if not name.startswith("PENSTOCK_")}
    command = [sys.executable, "-m", "benchmarks.run", "gpu", "--quick", "--json", "--out", str(tmp_path)]

    done = subprocess.run(
        [*command, "--replay", str(tmp_path / "kept.json")], cwd=ROOT, env=environ, capture_output=True, text=True
    )

    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    print(f"{told['took_s']:.0f} s, {told['system']['tiny']['jobs']['done_per_s']:.0f} jobs/s")
    assert [note for note in told["notes"] if "failed" in note] == []
    assert "replayed" in told["notes"][0]
    assert told["provider"]["got"] == "cpu"
    assert {kind: bare["got"] for kind, bare in told["bare"].items()} == dict.fromkeys(
        ("tiny", "medium", "large-cut"), "cpu"
    )
    assert told["system"]["tiny"]["provider"] == "cpu"
    assert told["system"]["tiny"]["jobs"]["states"] == {"completed": told["system"]["tiny"]["jobs"]["jobs"]}
    assert {told["card"]["source"], told["system"]["tiny"]["card"]["source"]} == {"replay"}
