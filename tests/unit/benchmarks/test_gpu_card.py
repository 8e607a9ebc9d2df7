"""What is said of a card carries the source it comes from, and no card is no figure."""

import json
from dataclasses import asdict

import pytest

from benchmarks.gpu import bare, card, measure, show
from benchmarks.gpu.card import Reading, ReplayedCard, Watch


@pytest.fixture
def kept(tmp_path):
    """A report as a run on a machine with a GPU has left it."""
    readings = [Reading(busy_share=share, memory_bytes=1 << 30, power_w=90.0) for share in (0.0, 0.5, 1.0)]
    path = tmp_path / "gpu.json"
    path.write_text(json.dumps({"card": {"facts": {"name": "H"}, "readings": [asdict(one) for one in readings]}}))
    return path


def test_a_replayed_card_says_what_was_read_then_in_a_circle_and_that_it_is_a_replay(kept):
    found, why = card.find(None, kept)

    shares = [found.read().busy_share for _ in range(4)]

    assert shares == [0.0, 0.5, 1.0, 0.0]
    assert (found.source, found.facts["replayed_from"]) == ("replay", "gpu.json")
    assert "replayed" in why


def test_a_summary_has_mean_and_peak_and_the_source(kept):
    readings = [ReplayedCard(kept).read(), Reading(busy_share=1.0, memory_bytes=3 << 30, power_w=200.0)]

    told = card.summary(readings, "nvml")

    assert (told["source"], told["readings"]) == ("nvml", 2)
    assert (told["busy_share"], told["memory_bytes"], told["power_w"]) == (0.5, 3 << 30, 200.0)


def test_without_a_card_nothing_is_read_and_nothing_is_said():
    with Watch(None) as watch:
        pass

    assert watch.summary() is None
    assert card.settled_bytes(None) is None


def test_readings_are_thinned_evenly_to_what_a_replay_needs(kept):
    readings = [Reading(busy_share=n / 1000, memory_bytes=n, power_w=0.0) for n in range(1000)]

    kept_ones = card.thinned(readings, most=100)

    assert [one["memory_bytes"] for one in kept_ones] == list(range(0, 1000, 10))


def test_a_part_that_fails_or_finds_no_time_is_noted_and_ends_nothing_else(tmp_path):
    run = measure.Run(
        plan=measure.Plan(), folder=tmp_path, card=None, provider="cpu", environ={}, report={"notes": []}, ends_at=0.0
    )

    with run.part("late", needs_s=10.0) as has_time:
        assert not has_time
    with run.part("broken"):
        raise SystemExit("the loop broke")

    assert [note.partition(":")[0] for note in run.report["notes"]] == ["late", "broken"]
    assert "the loop broke" in run.report["notes"][1]


def test_a_share_is_shown_only_beside_the_loop_that_it_is_a_share_of():
    system = {"jobs": {"done_per_s": 50.0}}

    shown = [show._share({"bare": bare}, "medium", system) for bare in ({"medium": {"best": {"rows_per_s": 100}}}, {})]

    assert shown == ["50%", "-"]


@pytest.mark.parametrize(
    ("asked", "is_offered", "first"),
    [("auto", True, bare.CUDA), ("cuda", True, bare.CUDA), ("cpu", True, bare.CPU), ("auto", False, bare.CPU)],
)
def test_a_bare_loop_runs_on_cuda_where_it_is_offered_and_not_declined(asked, is_offered, first):
    offered = [bare.CUDA, bare.CPU] if is_offered else [bare.CPU]

    chosen = bare.providers(asked, offered)

    assert (chosen[0][0] if first == bare.CUDA else chosen[0]) == first
    assert chosen[-1] == bare.CPU


def test_cuda_that_was_asked_for_and_is_not_offered_is_seen_by_what_the_session_got():
    assert bare.providers("cuda", [bare.CPU]) == [bare.CPU]
