"""Checks of what users hand over: an error names the argument, what it was given and what it takes."""

from __future__ import annotations

import math
import numbers
from typing import Any

from shoal._internal import limits

_STEP = 0.0001


def amount(name: str, value: Any) -> None:
    """An amount of a resource."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(f"{name} must be a number, not {type(value).__name__}.")
    number = float(value)
    if not math.isfinite(number) or number < 0:
        raise ValueError(f"{name} must be zero or more, not {value}.")
    if 0 < number < _STEP:
        raise ValueError(f"{name} must be 0 or at least {_STEP}, not {value}.")


def count(name: str, value: Any, minimum: int) -> None:
    """How many of something; a `minimum` of -1 makes that mean without limit."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} must be an int, not {type(value).__name__}.")
    if value < minimum or value > limits.COUNT:
        meaning = " (-1 means without limit)" if minimum == -1 else ""
        raise ValueError(f"{name} must be {minimum} or more{meaning}, not {value}.")


def text(name: str, value: Any) -> None:
    """A name of something."""
    if not isinstance(value, str) or not value:
        raise TypeError(f"{name} must be a non-empty str, not {value!r}.")


def flag(name: str, value: Any) -> None:
    """True or False."""
    if not isinstance(value, bool):
        raise TypeError(f"{name} must be True or False, not {value!r}.")
