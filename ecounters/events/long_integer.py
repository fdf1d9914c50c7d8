"""LongInteger: a JSON integer that is too long to be decoded. Not compiled: no native class can be a text."""

from __future__ import annotations


class LongInteger(str):
    """The digits of a JSON integer that is too long to be decoded: it has more than 4,300 digits.

    Readers that take the digits of an integer as text take these. For all others it is out of range, or no text.
    """

    __slots__ = ()
