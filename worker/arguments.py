"""Kinds of arguments that commands take, for argparse."""

from __future__ import annotations

import argparse
import re


def numbers(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(one) for one in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError("numbers with commas between them") from None


def whole(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError("a whole number from 1 on")
    return int(text)


def device(text: str) -> str:
    if not re.fullmatch(r"cpu|torch:cpu|cuda(:\d{1,2})?", text):
        raise argparse.ArgumentTypeError("cpu, cuda or cuda:1")
    return text


def share(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 < value <= 1:
        raise argparse.ArgumentTypeError("a number above 0, at most 1")
    return value
