"""The flags of the slots to which a call adds 1."""

from __future__ import annotations

from ecounters.counters.definitions import COUNTERS, Kind
from ecounters.windows import units


def test_each_slot_has_the_flag_of_its_name_and_place() -> None:
    """A flag that stood for another slot would count for that one."""
    flags = {name: value for name, value in vars(units).items() if type(value) is int and not name.startswith("_")}
    assert flags == {slot.upper(): 1 << index for index, slot in enumerate(units.SLOTS)}


def test_they_fit_into_a_call() -> None:
    """``Call.units`` has 32 bits, one of them for the sign."""
    assert len(units.SLOTS) < 32


def test_they_are_counters_or_divisors() -> None:
    """A misspelled slot would be counted and never shown."""
    divisors = {counter.source[1] for counter in COUNTERS.values() if counter.kind is Kind.AVERAGE}
    assert set(units.SLOTS) <= {key for key, counter in COUNTERS.items() if counter.kind is Kind.COUNT} | divisors


def test_slots_of_a_sum_of_flags() -> None:
    """In the order of the flags."""
    assert units.slots_of(0) == ()
    assert units.slots_of(units.CNC | units.TC | units.FR_GH_UC) == ("TC", "CNC", "FR_GH_UC")
