"""`penstock job compare` and `penstock service compare`."""

import json

from api.cli.client import BASE

SERVICE = "a" * 32
OUTPUT = {"name": "scores", "max_abs": 0.25, "mean_abs": 0.1, "cosine": 0.99, "top1_agreement": 1.0, "agrees": False}


def test_jobs_are_drawn_with_a_line_for_each_output_and_the_winners(penstock, server):
    task = {"task_id": "b" * 32, "model_version": "1.1.0", "latency": 0.5, "outputs": [OUTPUT]}
    server.answers["POST", f"{BASE}/tasks/compare"] = (
        200,
        json.dumps({"tasks": [task], "winner": {"fastest": "f" * 32, "closest": None}}),
    )

    result = penstock("job", "compare", "a" * 32, "b" * 32, "--tolerance", "0.1")

    assert result.exit_code == 0
    assert "scores" in result.stdout
    assert "0.25" in result.stdout
    assert "f" * 32 in result.stderr
    assert json.loads(server.requests[-1].content) == {"task_ids": ["a" * 32, "b" * 32], "tolerance": 0.1}


def test_versions_of_a_service_are_drawn_as_two_sides(penstock, server):
    side = {"name": "1.0.0", "tasks": 4, "completed": 4, "error_share": 0.0, "latency_p50": 0.125}
    pairs = {"count": 3, "agreeing": 2, "outputs": {"scores": OUTPUT}}
    server.answers["POST", f"{BASE}/services/{SERVICE}/compare"] = (
        200,
        json.dumps({"sides": [side, {**side, "name": "1.1.0"}], "pairs": pairs, "winner": {"faster": "1.1.0"}}),
    )

    result = penstock("service", "compare", SERVICE, "1.0.0", "1.1.0", "--from", "2026-11-20")

    assert result.exit_code == 0
    assert "0.125" in result.stdout
    assert "Same input: 3, agreeing: 2. Faster: 1.1.0" in result.stderr
    assert json.loads(server.requests[-1].content) == {"versions": ["1.0.0", "1.1.0"], "from": "2026-11-20"}
