"""What `up` tells its children of keys, and the person who started it."""

from pathlib import Path

import pytest

from inference.settings import load
from workers.launching import opening, roles

TEXTS = {"PENSTOCK_ACCESS__FIRST_KEY": "a", "PENSTOCK_ACCESS__METRICS_KEY": "b", "PENSTOCK_API_KEY": "c"}


def test_texts_of_keys_go_to_the_step_that_makes_keys_of_them_and_to_nobody_else():
    environ = {"PATH": "/bin", **TEXTS}

    given = roles.environment(load({}), run_id="r", redis_url="", inherited=environ)

    assert not set(TEXTS) & set(given)
    assert given["PATH"] == "/bin"
    assert roles.secrets_of(environ) == TEXTS


@pytest.mark.parametrize(
    ("status", "has_file", "said"),
    [
        (200, False, ["open: no key is asked for, only this machine can reach it"]),
        (401, False, ["keys are asked for"]),
        (401, True, ["keys are asked for", "the first admin key is in {folder}/admin.key"]),
        (0, True, []),
        (503, False, []),
    ],
)
def test_who_is_let_in_is_said_as_the_system_answered_it(tmp_path: Path, status, has_file, said):
    if has_file:
        (tmp_path / "admin.key").write_text("a text that is never said\n")

    assert opening.sentences(tmp_path, status=status) == [line.format(folder=tmp_path) for line in said]
