"""The command ``weightloom``."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from app.recipe.findings import Finding, Refused, has_errors
from worker.adapter_commands import register
from worker.arguments import device, whole
from worker.compare_command import register as register_compare
from worker.explain import explain
from worker.recipe_file import merge_text, mixture_text, recipe_text
from worker.sizes import gigabytes
from worker.transplant_command import register as register_transplant
from worker.transplant_command import transplant_text
from worker.version import Version

if TYPE_CHECKING:
    from app.settings import Settings
    from worker.adapter_commands import Report
    from worker.console import Make

OK, REFUSED, USAGE, FAILED = 0, 1, 2, 3


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit codes: 0 done, 1 refused by the checks, 2 wrongly called, 3 failed on the way, 130 interrupted."""
    asked = _parser().parse_args(arguments)
    command: Callable[[argparse.Namespace], int] = asked.command
    light = command in (_merge, _moe, _check, _warm_up)
    if light:
        # Their linear algebra is of a few numbers: threads for it would be started for nothing, at each start.
        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    try:
        code = command(asked)
    except KeyboardInterrupt:
        code = 128 + signal.SIGINT
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = FAILED
    if arguments is None and light:
        _leave(code)
    return code


def _leave(code: int) -> NoReturn:
    """End the program at once: taking apart what it has imported would cost as much as importing it."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)


def _up(_: argparse.Namespace) -> int:
    from worker.up import up

    return _told(lambda: up(_settings(), _say, _warn))


def _worker(asked: argparse.Namespace) -> int:
    from worker.celery_app import main as run_worker

    return run_worker(asked.queues, asked.name or asked.queues.replace(",", "-"))


def _migrate(_: argparse.Namespace) -> int:
    from app.db import migrate

    return _told(lambda: migrate(_settings()))


def _warm_up(_: argparse.Namespace) -> int:
    from worker.engine.warm_up import warm_up

    warm_up()
    return OK


def _check(asked: argparse.Namespace) -> int:
    from worker.check_command import as_json, as_lines, check_recipe
    from worker.open_library import open_library

    try:
        settings = _settings()
        library = open_library(settings, Path.cwd())
        looked = check_recipe(recipe_text(asked.recipe), library, settings, seed=asked.seed, token=_token())
    except Refused as problem:
        return _refused(problem.findings, asked.json, USAGE)
    for line in [as_json(looked)] if asked.json else as_lines(looked):
        _say(line)
    return REFUSED if has_errors(looked.findings) or looked.plan is None else OK


def _convert(asked: argparse.Namespace) -> int:
    from app.recipe.mergekit import for_mergekit
    from app.recipe.reading import read_recipe
    from app.recipe.writing import write_recipe

    try:
        reading = read_recipe(merge_text(asked.recipe))
        if reading.recipe is None:
            return _refused(reading.findings, False, REFUSED)
        recipe, findings = for_mergekit(reading.recipe)
    except Refused as problem:
        return _refused(problem.findings, False, REFUSED)
    for finding in findings:
        _warn(str(finding))
    _say(write_recipe(recipe).rstrip())
    return OK


def _merge(asked: argparse.Namespace) -> int:
    from worker.steps.checkpoint import make_checkpoint

    return _make(asked, make_checkpoint, lambda: merge_text(asked.recipe))


def _moe(asked: argparse.Namespace) -> int:
    from worker.experts.making import make_mixture

    return _make(asked, make_mixture, lambda: mixture_text(asked.recipe))


def _transplant(asked: argparse.Namespace) -> int:
    from worker.transplant.making import make_transplant

    return _make(asked, make_transplant, lambda: transplant_text(asked))


def _make(asked: argparse.Namespace, make: Make, read: Callable[[], str]) -> int:
    """``read`` raises Refused for a recipe of another kind."""
    from worker.bar import Bar
    from worker.console import Broke, Interrupted, Wanted, merge_into
    from worker.open_library import open_library

    try:
        library = open_library(_settings(), Path.cwd())
        text = read()
        wanted = Wanted(text, asked.out, asked.seed, asked.device, asked.threads, _token(), asked.stream)
    except Refused as problem:
        return _refused(problem.findings, asked.json, USAGE)
    try:
        manifest = merge_into(wanted, library, Bar(sys.stderr), make)
    except Interrupted as stopped:
        _warn("Stopped. The same command goes on after the files that are finished.")
        return 128 + stopped.number
    except Refused as problem:
        return _refused(problem.findings, asked.json, FAILED if isinstance(problem, Broke) else REFUSED)
    if asked.json:
        _say(json.dumps({"out": str(asked.out), "bytes": manifest.size, **manifest.as_dict()}, indent=2))
    else:
        _say(f"{asked.out}: {len(manifest.files)} files, {gigabytes(manifest.size)}")
    return OK


def _behind_a_bar(
    make: Callable[..., Any], tell: Callable[[Any, argparse.Namespace], None], asked: argparse.Namespace
) -> int:
    """A command that shows how far it is, and tells in the end what it has made."""
    from worker.bar import Bar
    from worker.open_library import open_library

    bar = Bar(sys.stderr)
    try:
        made = make(asked, open_library(_settings(), Path.cwd()), _token(), bar)
    except Refused as problem:
        return _refused(problem.findings, asked.json, REFUSED)
    except (OSError, MemoryError) as problem:
        return _refused(explain(problem), asked.json, FAILED)
    finally:
        bar.clear()
    tell(made, asked)
    return OK


def _tell_adapter(report: Report, asked: argparse.Namespace) -> None:
    if asked.json:
        findings = [one.as_dict() for one in report.findings]
        _say(json.dumps({"out": str(asked.out), "findings": findings, **report.data}, indent=2))
        return
    _refused(report.findings, False, OK)
    for line in report.lines:
        _say(line)


def _tell_comparison(text: str, _: argparse.Namespace) -> None:
    _say(text)


def _told(command: Callable[[], None]) -> int:
    """Run a command whose refusals go to people only."""
    try:
        command()
    except (Refused, OSError) as problem:
        return _refused(explain(problem), False, FAILED)
    return OK


def _refused(findings: Iterable[Finding], as_json: bool, code: int) -> int:
    if as_json:
        _say(json.dumps({"findings": [one.as_dict() for one in findings]}, indent=2))
    else:
        for finding in findings:
            _warn(str(finding))
    return code


def _settings() -> Settings:
    from app.settings import Settings

    return Settings()


def _token() -> str | None:
    """The caller's own Hub token, for gated and private parents."""
    return os.environ.get("HF_TOKEN") or None


def _say(line: str) -> None:
    print(line, flush=True)


def _warn(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="weightloom",
        description="Build, run and share merges of language models.",
        epilog="Exit codes: 0 done, 1 refused by the checks, 2 wrongly called, 3 failed on the way, 130 interrupted.",
    )
    parser.add_argument("--version", action=Version, nargs=0, help="print the version and leave")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(name: str, command: Callable[[argparse.Namespace], int], about: str) -> argparse.ArgumentParser:
        made = commands.add_parser(name, help=about, description=about)
        made.set_defaults(command=command)
        return made

    add("up", _up, "Start everything on this machine: a private Redis, the workers, the web server.")
    one = add("merge", _merge, "Merge models into a new folder. Models: a folder, local:root/name, or a Hub id.")
    _recipe_arguments(one)
    one.add_argument("--device", default="cpu", type=device, help="cpu (the default) or cuda")
    _making_arguments(one)
    one = add("moe", _moe, "Make a mixture of experts of dense models into a new folder.")
    _recipe_arguments(one, seed=False)
    _making_arguments(one)
    one.set_defaults(device="cpu", seed=None)
    one = add("convert", _convert, "Print a recipe in words that mergekit knows, with the same meaning.")
    one.add_argument("recipe", type=Path, metavar="RECIPE.yml", help="the recipe; - reads the standard input")
    _recipe_arguments(
        add("check", _check, "Say what is wrong with a recipe, and what its merge would cost."), merges=False
    )
    register(lambda name, make, about: add(name, partial(_behind_a_bar, make, _tell_adapter), about))
    register_compare(lambda name, make, about: add(name, partial(_behind_a_bar, make, _tell_comparison), about))
    _making_arguments(register_transplant(lambda name, about: add(name, _transplant, about)))
    add("warm-up", _warm_up, "Compile the engine's kernels now, so that the first merge need not.")
    add("migrate", _migrate, "Bring the database to the newest schema.")
    worker = add("worker", _worker, "Run one worker, for set-ups with several machines.")
    worker.add_argument("--queues", default="merge,io", help="merge, io (uploads), or both")
    worker.add_argument("--name", help="its name among the workers of this machine")
    return parser


def _making_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("out", type=Path, metavar="OUT_DIR", help="new or empty folder for the result")
    parser.add_argument(
        "--stream", action="store_true", help="read Hub models in parts and store nothing of their weights"
    )
    parser.add_argument("--threads", type=whole, help="threads to compute with; the result is the same with any number")


def _recipe_arguments(parser: argparse.ArgumentParser, *, merges: bool = True, seed: bool = True) -> None:
    parser.add_argument("recipe", type=Path, metavar="RECIPE.yml", help="the recipe; - reads the standard input")
    if seed:
        parser.add_argument(
            "--seed", type=int, help="for the methods that draw at random; goes before the recipe's own"
        )
    what = "the result's manifest" if merges else "findings and estimate"
    parser.add_argument("--json", action="store_true", help=f"print {what} as JSON")


if __name__ == "__main__":
    sys.exit(main())
