"""Who lives and does nothing any more, told from who is slow to start or asleep with the whole machine."""

from workers.launching.vigil import HANGS_S, Vigil


class Part:
    def __init__(self):
        self.now = 0.0
        self.is_heard = False
        self.vigil = Vigil(lambda: self.is_heard, clock=lambda: self.now)

    def passes(self, seconds, *, heard):
        """Looks every second; whether it hung at any time."""
        found = False
        for _ in range(round(seconds)):
            self.now += 1.0
            self.is_heard = heard
            found |= self.vigil.hangs()
        return found


def test_a_part_that_falls_silent_hangs_after_the_limit_and_not_before():
    part = Part()
    part.passes(5, heard=True)

    early = part.passes(HANGS_S, heard=False)
    late = part.passes(1, heard=False)

    assert (early, late) == (False, True)


def test_a_part_that_was_never_heard_is_starting():
    assert not Part().passes(HANGS_S * 10, heard=False)


def test_any_sign_of_life_begins_the_wait_anew():
    part = Part()
    part.passes(1, heard=True)

    found = any(part.passes(HANGS_S - 1, heard=False) or part.passes(1, heard=True) for _ in range(5))

    assert not found


def test_a_launcher_that_slept_blames_nobody():
    part = Part()
    part.passes(1, heard=True)

    part.now += 3600
    found = part.passes(5, heard=False)

    assert not found
