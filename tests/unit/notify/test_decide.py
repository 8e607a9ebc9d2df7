"""What follows an attempt to deliver a webhook."""

import pytest

from inference.notify.decide import DELAYS_S, after_attempt
from inference.notify.model import Answer, DeliveryState

P, D, G = DeliveryState.PENDING, DeliveryState.DELIVERED, DeliveryState.GIVEN_UP


@pytest.mark.parametrize(
    ("answer", "attempts", "state", "delay_s"),
    [
        (Answer(status=200), 1, D, 0),
        (Answer(status=204), 10, D, 0),
        (Answer(status=500), 1, P, 5.5),
        (Answer(status=302), 2, P, 33),
        (Answer(error="refused"), 3, P, 132),
        (Answer(status=429, retry_after_s=60), 1, P, 60),
        (Answer(status=503, retry_after_s=1), 1, P, 5.5),
        (Answer(status=503, retry_after_s=1e9), 1, P, 86_400),
        (Answer(status=410), 1, G, 0),
        (Answer(error="not public", is_hopeless=True), 1, G, 0),
        (Answer(status=500), len(DELAYS_S), P, DELAYS_S[-1] * 1.1),
        (Answer(status=500), len(DELAYS_S) + 1, G, 0),
    ],
)
def test_the_next_step_follows_from_the_answer(answer: Answer, attempts: int, state: DeliveryState, delay_s: float):
    settled = after_attempt(answer, attempts=attempts, dice=0.5)

    assert settled.state is state
    assert settled.delay_s == pytest.approx(delay_s)
