"""What follows an attempt to deliver. Pure, but for the dice that the caller throws."""

from inference.notify.model import Answer, DeliveryState, Settled

DELAYS_S = (5.0, 30.0, 120.0, 600.0, 1_800.0, 7_200.0, 18_000.0, 36_000.0, 50_400.0)
"""After the first attempt, the second, ...: ten attempts over about 31 hours."""

GONE = 410


def after_attempt(answer: Answer, *, attempts: int, dice: float) -> Settled:
    """DELIVERED for any 2xx; GIVEN_UP for 410 Gone, for a URL that the guard refuses, and after the last delay.

    `attempts`: those made, this one included. `dice`: uniform in 0 to 1; a delay is its base and up to a fifth more,
    and at least what the receiver asked for (a day at most).
    """
    if answer.status is not None and 200 <= answer.status < 300:
        return Settled(state=DeliveryState.DELIVERED)
    if answer.is_hopeless or answer.status == GONE or attempts > len(DELAYS_S):
        return Settled(state=DeliveryState.GIVEN_UP)
    delay_s = DELAYS_S[attempts - 1] * (1 + dice / 5)
    return Settled(state=DeliveryState.PENDING, delay_s=max(delay_s, min(answer.retry_after_s or 0.0, 86_400.0)))
