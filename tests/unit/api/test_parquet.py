"""Parquet as another library reads it: every value, in groups of any length."""

from datetime import UTC, datetime

from hypothesis import given, settings
from hypothesis import strategies as st

from api import parquet
from api.parquet import Type
from tests.parquet import in_parquet

COLUMNS = {"text": Type.TEXT, "integer": Type.INTEGER, "number": Type.NUMBER, "time": Type.TIME}
rows_of_any_kind = st.lists(
    st.tuples(
        st.none() | st.text(st.characters(codec="utf-8"), max_size=300),
        st.none() | st.integers(-(2**63), 2**63 - 1),
        st.none() | st.floats(allow_nan=False),
        st.none() | st.integers(0, 4 * 10**15),
    ),
    max_size=40,
)


@settings(max_examples=60, deadline=None)
@given(rows_of_any_kind, st.integers(1, 17))
def test_what_was_written_is_read(rows, group):
    typed = [
        (None if text is None else text.encode(), integer, number, None if micros is None else micros / 1e6)
        for text, integer, number, micros in rows
    ]
    groups = [typed[at : at + group] for at in range(0, len(typed), group)]
    writer = parquet.Writer(COLUMNS)

    content = writer.begin() + b"".join(writer.group(some) for some in groups) + writer.end()
    told = in_parquet(content)

    assert [(one["text"], one["integer"], one["number"]) for one in told] == [row[:3] for row in rows]
    times = [None if row[3] is None else datetime.fromtimestamp(row[3] // 10**6, UTC) for row in rows]
    assert [one["time"] and one["time"].replace(microsecond=0) for one in told] == times


def test_a_group_is_written_when_it_is_long_enough_or_large_enough(monkeypatch):
    monkeypatch.setattr(parquet, "GROUP_ROWS", 10)
    monkeypatch.setattr(parquet, "GROUP_BYTES", 1_000)

    long = list(parquet.written({"text": Type.TEXT}, [[b"a"]] * 25))
    large = list(parquet.written({"text": Type.TEXT}, [[b"a" * 600]] * 5))

    assert (len(long), len(large)) == (1 + 3 + 1, 1 + 3 + 1)
    assert [len(in_parquet(b"".join(one))) for one in (long, large)] == [25, 5]
