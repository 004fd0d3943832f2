"""A comparison as CSV: one line a tensor and subject, every measure a column."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator

from app.comparing.comparison import Comparison, subject_key
from app.comparing.measures import Subject, subjects, value
from app.comparing.sums import TensorSums


def as_csv(comparison: Comparison) -> Iterator[str]:
    """Line by line. Shares, not percents; an empty field where a measure means nothing."""
    names = [one.name for one in comparison.measures]
    yield _line(["tensor", "layer", "module", "elements", "measured", "of", *names])
    for tensor in comparison.tensors:
        for subject in comparison.subjects:
            values = [_of(comparison, tensor, name, subject) for name in names]
            layer = "" if tensor.layer is None else tensor.layer
            yield _line(
                [tensor.name, layer, tensor.module, tensor.elements, tensor.measured, subject_key(subject), *values]
            )  # fmt: skip


def _of(comparison: Comparison, tensor: TensorSums, name: str, subject: Subject) -> float | str:
    measure = next(one for one in comparison.measures if one.name == name)
    if subject not in subjects(measure, len(comparison.models)):
        return ""
    found = value(name, (tensor,), subject)
    return "" if found is None else found


def _line(fields: list[object]) -> str:
    out = io.StringIO()
    csv.writer(out).writerow([_harmless(one) if isinstance(one, str) else one for one in fields])
    return out.getvalue()


def _harmless(text: str) -> str:
    """Names come from checkpoints: one that a spreadsheet would take for a formula is quoted."""
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text
