"""Order keys: a place among siblings as a string that sorts.

A key is a list of integers, each written so that text order is number order
and no integer's text begins another's; lists compare like words. Between any
two keys there is room for another, so a node is added or moved by writing that
one node. Runs of inserts in one direction, at the end, at the front or anywhere
in the middle, count up or down in one integer: keys grow with the logarithm of
the run. Why not fractions or positions: docs/decisions/0004.
"""

from __future__ import annotations

_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_VALUE = {digit: value for value, digit in enumerate(_DIGITS)}


def between(lower: str | None, upper: str | None) -> str:
    """A key after `lower` and before `upper`; None stands for the open end.

    Raises ValueError when `lower` is not below `upper`.
    """
    if lower is not None and upper is not None and lower >= upper:
        raise ValueError("no room: the keys are out of order")
    low = _parse(lower) if lower is not None else []
    high = _parse(upper) if upper is not None else []
    if not high:
        return _text([low[0] + 1] if low else [0])
    if not low:
        return _text([high[0] - 1])
    same = 0
    while same < len(low) and low[same] == high[same]:
        same += 1
    if same == len(low):  # `lower` begins `upper`: count down inside it
        return _text([*low, high[same] - 1])
    if high[same] - low[same] > 1:
        return _text([*low[:same], low[same] + 1])
    if len(low) > same + 1:  # neighbours: count up inside `lower`
        return _text([*low[: same + 1], low[same + 1] + 1])
    return _text([*low, 0])


def _text(numbers: list[int]) -> str:
    return "".join(map(_encode, numbers))


def _encode(number: int) -> str:
    # The first letter says sign and length: a, b ... for 1, 2 ... digits, Z, Y ...
    # for negative ones, whose digits count down from the largest.
    magnitude = number if number >= 0 else -number - 1
    digits = ""
    while True:
        magnitude, digit = divmod(magnitude, 62)
        digits = _DIGITS[digit if number >= 0 else 61 - digit] + digits
        if not magnitude:
            break
    return chr(ord("a") + len(digits) - 1 if number >= 0 else ord("Z") - len(digits) + 1) + digits


def _parse(key: str) -> list[int]:
    numbers, at = [], 0
    while at < len(key):
        head = key[at]
        positive = head >= "a"
        length = ord(head) - ord("a") + 1 if positive else ord("Z") - ord(head) + 1
        number = 0
        for digit in key[at + 1 : at + 1 + length]:
            number = number * 62 + (_VALUE[digit] if positive else 61 - _VALUE[digit])
        numbers.append(number if positive else -number - 1)
        at += 1 + length
    return numbers
