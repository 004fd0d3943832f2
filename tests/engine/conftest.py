"""Shared by the engine's tests."""

from __future__ import annotations

import os

import pytest


@pytest.fixture
def no_sync(monkeypatch: pytest.MonkeyPatch) -> None:
    """For tests of arithmetic that write thousands of files: whether they reach the disk is not their subject."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
