"""How the end of a trial's process is read."""

import signal

import pytest

from inference.registry.inspect import _crashed
from inference.settings import RegistrySettings


@pytest.mark.parametrize(
    ("complaint", "status", "sentence"),
    [
        (
            "terminate called after throwing 'std::bad_alloc'",
            -signal.SIGABRT,
            "more memory than its trial run may have",
        ),
        ("MemoryError", 1, "(8 GiB)"),
        ("", -signal.SIGSEGV, "crashed the engine (SIGSEGV)"),
        ("", -signal.SIGXCPU, "too much processor time"),
        ("", -signal.SIGKILL, "the machine ran out of memory"),
        ("anything", 9, "ended the engine's process (exit code 9)"),
    ],
)
def test_each_end_has_its_sentence(complaint, status, sentence):
    assert sentence in _crashed(complaint, status, RegistrySettings()).message
