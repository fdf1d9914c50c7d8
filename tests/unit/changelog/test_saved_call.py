"""SavedCall: a call that is saved and read back is the same record, and its bytes stay what they are."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from ecounters.calls.items import IvrLink, Leg
from ecounters.calls.lists import ivr_entries, legs_of, set_ivrs
from ecounters.calls.record import FORWARDED, REPEAT, STATUS_RESTARTED, SUSPECTED, Call
from ecounters.changelog.saved import SavedCall
from ecounters.changelog.saved_call import restored_call, saved_form, saved_leg
from ecounters.partition.user import User

RECORD = Call("c1", User("u1"))
for name, value in {
    "last_ts": 1, "caller_class": REPEAT, "silence": SUSPECTED,
    "first_leg": Leg("1", ringing=4, answered=5, ended=6, elsewhere=True),
    "start": 2, "start_id": "S", "type": "IBD", "campaign": "7", "did": "d", "number": "n", "switch": "w",
    "end": 8, "end_id": "E", "status": 9, "ended_by": "caller", "system_end": (10, STATUS_RESTARTED),
    "redirects": FORWARDED, "holds": ((11, "H", True),), "last_ivr": IvrLink(12, "I", True, 1, "menu", None),
    "dtmfs": {"D": (13, "1#", True, "menu")}, "start_ids": ("S", "T"), "last_start": 14, "reused_at": 15,
}.items():  # fmt: skip
    setattr(RECORD, name, value)
"""Every saved field holds a value that is not the default."""


_decoded = msgspec.msgpack.Decoder(SavedCall).decode


def saved(form: tuple[Any, ...]) -> SavedCall:
    """What is read of a form that was written."""
    return _decoded(msgspec.msgpack.encode(form))


def test_the_saved_form_is_the_whole_record() -> None:
    """What is saved and read back is the same record, and names the fields in one order everywhere."""
    form = saved_form(RECORD)
    again = restored_call(saved(form), "c1", RECORD.user)
    assert saved_form(again) == form
    assert len(form) == len(SavedCall._fields)
    for name, value in zip(SavedCall._fields, form, strict=True):
        if name not in ("legs", "ivrs"):
            assert getattr(RECORD, name) == value == getattr(again, name)
    assert [saved_leg(leg) for leg in legs_of(again)] == [saved_leg(leg) for leg in legs_of(RECORD)] == form[15] != []
    assert list(ivr_entries(again)) == list(ivr_entries(RECORD)) == [(12, "I", True, "menu")]


def test_entries_of_ivrs_are_saved_one_after_the_other() -> None:
    """The values of all of them in one array, the earliest first."""
    record, entries = Call("c1", RECORD.user), [(at, f"e{at}", at % 2 == 0, f"menu{at}") for at in range(1, 17)]
    set_ivrs(record, entries)
    form = saved_form(record)
    assert form[17] == tuple(value for entry in entries for value in entry)
    again = restored_call(saved(form), "c1", RECORD.user)
    assert list(ivr_entries(again)) == entries
    assert (again.last_ivr is not None and again.last_ivr.count, again.large) == (16, None)


@pytest.mark.parametrize("ivrs", [(12, "I", True), (12, 5, True, "menu"), (1,) * 65])
def test_damaged_entries_of_ivrs_are_refused(ivrs: tuple[Any, ...]) -> None:
    """Other values than four for each, or of other types; also more of them than a call has that is not large."""
    with pytest.raises(ValueError):
        restored_call(saved(saved_form(RECORD))._replace(ivrs=ivrs), "c1", RECORD.user)


@pytest.mark.parametrize("status", [-(2**31), -113, 0, 2**31 - 1])
def test_each_status_of_32_bits_is_kept(status: int) -> None:
    """Also the one by which compiled code marks an error."""
    again = restored_call(saved(saved_form(RECORD))._replace(status=status), "c1", RECORD.user)
    assert again.status == status == saved(saved_form(again)).status


@pytest.mark.parametrize(
    ("field", "value"),
    [("status", 2**31), ("status", -(2**31) - 1), ("caller_class", 256), ("silence", -1), ("redirects", 256)],
)
def test_what_a_record_cannot_hold_is_refused_when_it_is_read(field: str, value: int) -> None:
    """By the decoder, in each build: so `ecounters state check` finds it too."""
    form = list(saved_form(RECORD))
    form[SavedCall._fields.index(field)] = value
    with pytest.raises(msgspec.ValidationError):
        saved(tuple(form))


def test_a_call_that_is_read_back_is_new_to_this_process() -> None:
    """It has no flags, is in no timer wheel and is counted nowhere."""
    again = restored_call(saved(saved_form(RECORD)), "c1", RECORD.user)
    assert (again.id, again.user, again.flags, again.timer_slot) == ("c1", RECORD.user, 0, 0)
    assert (again.cell, again.units, again.amounts, again.live_key) == (None, 0, (), None)


def test_the_bytes_of_a_saved_call_are_those_of_format_2() -> None:
    """Changelogs hold these bytes: whoever must change them must change FORMAT too."""
    assert msgspec.msgpack.encode(saved_form(RECORD)) == (
        b"\xdc\x00\x17\x01\x02\xa1S\xa3IBD\xa17\xa1d\xa1n\xa1w\x08\xa1E\t\xa6caller\x92\n\xfe\x03\x02\x91\x96"
        b"\xa11\x00\x04\x05\x06\xc3\x91\x93\x0b\xa1H\xc3\x94\x0c\xa1I\xc3\xa4menu\x81\xa1D\x94\r\xa21#\xc3\xa4menu\x01"
        b"\x92\xa1S\xa1T\x0e\x0f"
    )


def test_a_call_without_the_last_fields_is_read() -> None:
    """Format 1 and older entries of format 2 have neither the ids of starts nor the time of the last one."""
    again = restored_call(saved(saved_form(RECORD)[:-3]), "c1", RECORD.user)
    assert (again.start_ids, again.last_start, again.reused_at, again.dtmfs) == (None, 0, 0, RECORD.dtmfs)


def test_the_time_of_a_refused_start_is_saved_only_where_there_is_one() -> None:
    """So the entry of any other call is what it was before there was this field, and can be read by what is older."""
    again = restored_call(saved(saved_form(RECORD)[:-1]), "c1", RECORD.user)
    assert again.reused_at == 0
    assert saved_form(again) == saved_form(RECORD)[:-1]
