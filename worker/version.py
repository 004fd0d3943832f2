"""What --version prints."""

from __future__ import annotations

import argparse
import sys
from typing import NoReturn


class Version(argparse.Action):
    """Looks the version up only when it is asked for."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> NoReturn:
        from importlib.metadata import PackageNotFoundError, version

        try:
            found = f"weightloom {version('weightloom')}"
        except PackageNotFoundError:
            found = "weightloom of this folder"
        sys.stdout.write(f"{found}\n")
        parser.exit()
