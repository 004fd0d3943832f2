"""Before the weights of a mixture: its routers, made once and kept in the folder of the unfinished result."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from app.experts.costs import MOST_TOKENS
from app.experts.dense import EMBEDDING
from app.experts.planning import Routers, lay_out_routers
from app.experts.wanted import HIDDEN
from app.planning.plan import Plan
from app.premix import Premix
from app.recipe.findings import refuse
from worker.engine.dtypes import Array
from worker.engine.sources import Place
from worker.experts.gates import Prompts, drawn, most_alike, of_prompt
from worker.experts.hidden import entering
from worker.experts.prompts import tokenise
from worker.experts.weights import embedded, opened
from worker.steps.align import beside
from worker.steps.watch import Watch


@dataclass(frozen=True)
class Routing:
    """Makes the routers of a mixture. ``tokenizer``: the text of the base's tokenizer.json, where prompts are used."""

    looked: Premix
    tokenizer: str | None

    @contextmanager
    def prepared(
        self, plan: Plan, places: Sequence[Path | Place], work: Path, watch: Watch, threads: int | None = None
    ) -> Iterator[tuple[Plan, tuple[Path | Place, ...]]]:
        """The plan and places that the engine takes, with the routers standing beside the parents. Those that an
        earlier attempt has made for the same prompts are taken as they are. Raises Refused, OSError, or what ``watch``
        raises."""
        routers = lay_out_routers(self.looked.wanted, self.looked.dense, self.looked.target)
        path = work / routers.file
        if path.is_file() and path.stat().st_size == routers.size:
            watch.log("The routers were made by an earlier attempt.")
        else:
            _write(path, routers, self._values(plan, places, watch, threads))
        yield beside(plan, places, work)

    def _values(
        self, plan: Plan, places: Sequence[Path | Place], watch: Watch, threads: int | None
    ) -> tuple[list[Array], list[Array]]:
        """For each layer the experts' rows, and the shared expert's where there is one."""
        wanted, layers = self.looked.wanted, self.looked.dense.layers
        if not wanted.prompted:
            watch.enter("routing", "Drawing the routers.")
            count, hidden = len(wanted.experts), self.looked.dense.hidden
            rows = [drawn(wanted.gate_mode, wanted.seed, layer, count, hidden) for layer in range(layers)]
            gates = [drawn(wanted.gate_mode, wanted.seed, layer, 1, hidden, shared=True) for layer in range(layers)]
            return rows, gates if wanted.shared else []
        with np.errstate(all="ignore"):
            found = list(self._from_prompts(plan, places, watch, threads))
        if not all(np.isfinite(one).all() for one in found):
            ref = self.looked.dense.facts.ref
            text = f"Running {ref} over the prompts gives values that are NaN or infinite."
            raise refuse("not-finite", ref, text, "Choose a base whose weights are sound, or gate_mode: cheap_embed.")
        count = len(wanted.experts)
        rows = [one[:count] for one in found]
        if (pair := most_alike(rows)) is not None:
            first, second, cosine = pair
            text = f"The routers of experts {first + 1} and {second + 1} are the most alike: cosine {cosine:.2f} over "
            watch.log(f"{text}the layers, 1 being the same.")
        return rows, [one[count:] for one in found] if wanted.shared else []

    def _from_prompts(
        self, plan: Plan, places: Sequence[Path | Place], watch: Watch, threads: int | None
    ) -> Iterator[Array]:
        """For each layer a row for every expert, the shared one's last: fp32 [experts, hidden]."""
        wanted, dense = self.looked.wanted, self.looked.dense
        prompts = Prompts(wanted.everyone)
        rows = dense.facts.tensors[EMBEDDING].shape[0]
        ids, cut = tokenise(self.tokenizer or "", prompts.texts, rows, dense.facts.ref)
        layers = dense.layers if wanted.gate_mode in HIDDEN else 0
        text = f"Making the routers of {len(ids)} prompts, {sum(map(len, ids))} tokens."
        watch.enter("routing", text, tensors=layers, size=self._bytes if layers else 0)
        short = sum(len(one) == 1 for one in ids)
        if short and layers:
            watch.log(
                f"Prompts of a single token: {short}. What a model makes of a first token is much the same for all."
            )
        if cut:
            watch.log(f"Prompts of more than {MOST_TOKENS} tokens: {cut}. Only the first {MOST_TOKENS} count.")
        with opened(plan, places, watch.check, threads) as weights:
            if not layers:
                states = embedded(weights, dense, ids)
                yield from [prompts.rows([of_prompt(one, wanted.gate_mode) for one in states])] * dense.layers
                return
            for states in entering(dense, weights, ids, self._tell(watch)):
                yield prompts.rows([of_prompt(one, wanted.gate_mode) for one in states])

    @property
    def _bytes(self) -> int:
        return sum(one.nbytes for name, one in self.looked.dense.facts.tensors.items() if name.startswith("model.lay"))

    def _tell(self, watch: Watch) -> Callable[[int], None]:
        layers = self.looked.dense.layers

        def tell(layer: int) -> None:
            watch.progress(self._bytes * (layer + 1) // layers, tensors=layer + 1, tensor=f"layer {layer}")

        return tell


def _write(path: Path, routers: Routers, values: tuple[list[Array], list[Array]]) -> None:
    """The file, whole or not at all. Raises OSError."""
    unfinished = path.with_name(f"{path.name}.{os.getpid()}")
    with unfinished.open("wb") as file:
        file.write(routers.header)
        for one in (*values[0], *values[1]):
            file.write(np.ascontiguousarray(one, np.float32).tobytes())
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(path)
