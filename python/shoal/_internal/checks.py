"""Checks of what users hand over: an error names the argument, what it was given and what it takes."""

from __future__ import annotations

import numbers
from collections.abc import Mapping
from typing import Any

from shoal._internal import limits

_STEP = 0.0001
_MOST_SHOWN = 200


def shown(value: Any) -> str:
    """A value as an error shows it."""
    try:
        found = repr(value)
    except Exception:  # an int of too many digits, a class of its own mind
        return f"a value of type {type(value).__name__}"
    return found if len(found) <= _MOST_SHOWN else f"{found[:_MOST_SHOWN]}... ({len(found)} characters)"


def amount(name: str, value: Any, most: float = limits.AMOUNT) -> None:
    """An amount of a resource."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(f"{name} must be a number, not {type(value).__name__}.")
    number: Any = value  # typing knows no order of numbers.Real
    if not 0 <= number <= most:
        raise ValueError(f"{name} must be zero or more and {most:g} at most, not {shown(value)}.")
    if 0 < number < _STEP:
        raise ValueError(f"{name} must be 0 or at least {_STEP}, not {shown(value)}.")


def count(name: str, value: Any, minimum: int, meaning: str = "") -> None:
    """How many of something; `meaning` is said of the minimum."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} must be an int, not {type(value).__name__}.")
    if not minimum <= value <= limits.COUNT:
        raise ValueError(f"{name} must be {minimum} or more{meaning} and {limits.COUNT} at most, not {shown(value)}.")


def text(name: str, value: Any, *, may_be_empty: bool = False) -> None:
    """What travels as UTF-8 and may be passed to a program: no null characters, no lone surrogates."""
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a {'' if may_be_empty else 'non-empty '}str, not {shown(value)}.")
    if not value and not may_be_empty:
        raise ValueError(f"{name} must be a non-empty str, not {value!r}.")
    if "\0" in value or not _is_utf8(value):
        raise ValueError(f"{name} must be a str without null characters and lone surrogates, not {shown(value)}.")


def _is_utf8(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def texts(name: str, value: Any) -> None:
    """A dict of str to str, such as labels."""
    if not isinstance(value, Mapping):
        raise TypeError(f"{name} must be a dict of str to str, not {shown(value)}.")
    for key, item in value.items():
        if not isinstance(key, str) or not isinstance(item, str):
            raise TypeError(f"{name} must be a dict of str to str, not one with {shown(key)}: {shown(item)}.")
        text(f"a name in {name}", key)
        text(f'{name}["{key}"]', item, may_be_empty=True)


def flag(name: str, value: Any) -> None:
    """True or False."""
    if not isinstance(value, bool):
        raise TypeError(f"{name} must be True or False, not {shown(value)}.")


def one_of(value: Any, *choices: str) -> bool:
    """True if it is one of these; arrays answer `in` with an error."""
    return isinstance(value, str) and value in choices
