"""The probe on a real card."""

import shutil

import pytest

from inference.resources.model import DeviceState
from inference.resources.probe_nvml import NvmlProbe

pytestmark = pytest.mark.gpu


def test_a_real_card_says_what_it_is_and_does():
    if shutil.which("nvidia-smi") is None:
        pytest.skip("needs an NVIDIA GPU")
    probe = NvmlProbe()

    card = next(device for device in probe.read().devices if device.parent_uuid is None)
    probe.close()

    told = card.figures
    assert (card.state, card.uuid[:4]) == (DeviceState.OK, "GPU-")
    assert None not in (told.memory_used_bytes, told.memory_free_bytes, told.memory_reserved_bytes)
    parts = (told.memory_used_bytes or 0) + (told.memory_free_bytes or 0) + (told.memory_reserved_bytes or 0)
    assert parts == pytest.approx(card.memory_bytes, rel=0.01)
    assert 0 < (told.temperature_c or 0) < 120
