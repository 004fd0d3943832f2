"""Why something failed, for people."""

from __future__ import annotations

import errno

from app.accounts.redact import redact
from app.recipe.findings import Finding, Refused

NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def explain(problem: Exception) -> tuple[Finding, ...]:
    """What to tell of ``problem``: its own findings, or one that says what can be said."""
    if isinstance(problem, Refused):
        return problem.findings
    if isinstance(problem, OSError) and problem.errno in NO_SPACE:
        text, fix = "The disk is full.", "Free some space, then try again."
        return (Finding("error", "disk-full", str(problem.filename or ""), text, fix),)
    if isinstance(problem, MemoryError):
        text, fix = "There was not enough memory.", "Close other programs or use a larger machine, then try again."
        return (Finding("error", "out-of-memory", "", text, fix),)
    if isinstance(problem, OSError) and problem.filename and problem.strerror:
        text, fix = f"{problem.filename} cannot be used: {problem.strerror}.", "Check the disk and its permissions."
        return (Finding("error", "disk-problem", str(problem.filename), text, fix),)
    text = redact(f"Something unforeseen happened: {type(problem).__name__}: {problem}")[:500]
    return (Finding("error", "unexpected", "", text, "Try again. If it happens again, look into the worker's log."),)
