"""Several models' facts at once: each may wait for the network."""

from __future__ import annotations

from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor

from app.library.facts import Library
from app.planning.facts import ModelFacts
from app.recipe.findings import Finding, Refused
from app.recipe.schema import ModelRef


def read_facts(
    models: Collection[ModelRef], library: Library, token: str | None, *, adapters: bool = False
) -> tuple[dict[ModelRef, ModelFacts], list[Finding]]:
    """Models' facts, read side by side, and what could not be read. ``adapters``: they are adapters on their own."""
    read = library.adapter if adapters else library.facts
    facts: dict[ModelRef, ModelFacts] = {}
    problems: list[Finding] = []
    with ThreadPoolExecutor(max_workers=max(1, min(8, len(models)))) as pool:
        futures = {model: pool.submit(read, model, token) for model in models}
        for model, future in futures.items():
            try:
                facts[model] = future.result()
            except Refused as problem:
                problems.extend(problem.findings)
    return facts, problems
