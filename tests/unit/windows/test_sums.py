"""Sum: what cells add up to, however they are added, taken back and joined."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ecounters.windows.cell import CAMPAIGN, DID, STATUS, TYPE
from ecounters.windows.dims import Dims
from ecounters.windows.sums import Sum

DIMS = st.builds(
    Dims,
    st.sampled_from(("IBD", "OBD")),
    st.sampled_from(("", "7")),
    st.sampled_from(("", "d")),
    st.sampled_from((None, 16)),
)
COUNTS = st.dictionaries(st.sampled_from(("TC", "MC", "DTMF/1", "ringTime")), st.integers(1, 9))
Cells = list[tuple[Dims, dict[str, int]]]
CELLS = st.lists(st.tuples(DIMS, COUNTS), max_size=8)


def sum_of(cells: Cells) -> Sum:
    """The sum of cells, one after the other."""
    total = Sum()
    for dims, counts in cells:
        total.add(dims, counts)
    return total


def content(total: Sum) -> tuple[object, ...]:
    """All that is not 0."""
    counts = {slot: amount for slot, amount in total.counts.items() if amount}
    return counts, *({value: calls for value, calls in table.items() if calls} for table in total.calls)


def test_calls_are_summed_by_each_dimension() -> None:
    """Slots add up over all cells; TC also by type, campaign, DID and status, "" and None included."""
    live, ended = Dims("IBD", "7", "", None), Dims("IBD", "", "d", 16)
    total = sum_of([(live, {"TC": 2, "MC": 1}), (ended, {"TC": 3, "ringTime": 5})])
    assert total.counts == {"TC": 5, "MC": 1, "ringTime": 5}
    assert total.calls[TYPE] == {"IBD": 5}
    assert total.calls[CAMPAIGN] == {"7": 2, "": 3}
    assert total.calls[DID] == {"": 2, "d": 3}
    assert total.calls[STATUS] == {None: 2, 16: 3}


@given(CELLS, CELLS)
def test_what_is_taken_back_was_never_there(kept: Cells, gone: Cells) -> None:
    """Adding and taking back leaves at most zeros."""
    total = sum_of([*kept, *gone])
    for dims, counts in gone:
        total.add(dims, counts, -1)
    assert content(total) == content(sum_of(kept))


@given(CELLS, CELLS)
def test_joined_sums_are_the_sum_of_all_cells(first: Cells, second: Cells) -> None:
    """So a sum can be computed in parts; the sum that is joined stays as it is."""
    total, other = sum_of(first), sum_of(second)
    before = content(other)
    total.join(other)
    assert (content(total), content(other)) == (content(sum_of([*first, *second])), before)
