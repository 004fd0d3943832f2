"""A model gets another model's tokenizer on the command line. Rows are held against NumPy in float64."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tokenizers import Tokenizer

from app.settings import Settings
from app.storage.local import read_manifest
from app.transplant.wanted import RECIPE_FILE, read_transplant
from tests.support.checkpoints import read_dtypes, read_tensors, write_json
from tests.support.quiet import Quiet
from tests.support.tiny_models import make_tiny
from tests.transplant.donors import ROWS, SPECIAL, TOKENS
from worker.cli import FAILED, OK, REFUSED, USAGE, main
from worker.open_library import open_library
from worker.steps.align import KEPT
from worker.steps.checkpoint import Order
from worker.transplant.making import make_transplant

EMBEDDING, HEAD = "model.embed_tokens.weight", "lm_head.weight"
EOS, BOS, UNK = 2, 1, 0
"""Ids of the donor's special tokens, and of the model's."""
NEW = ("the", "▁th", "▁the")
"""Tokens of the donor that the model lacks."""
OMP = ("--approach", "omp", "--k", "5")


def spelled(token: str) -> bytes:
    """What a token of the donor stands for."""
    return bytes.fromhex(token[3:5]) if token.startswith("<0x") else token.replace("▁", " ").encode()


def own_rows(model: Path) -> dict[int, int]:
    """Id in the donor -> id in the model, as its tokenizer cuts the text. Special tokens are matched by their role."""
    cutter = Tokenizer.from_file(str(model / "tokenizer.json"))
    letters = {bytes([byte]): cutter.token_to_id(letter) for byte, letter in _letters().items()}
    found = {0: 0, 1: 1, 2: 2}
    for number, token in enumerate(TOKENS):
        text = spelled(token)
        if token not in SPECIAL and token not in NEW:
            ids = [letters[text]] if len(text) == 1 else cutter.encode(text.decode(), add_special_tokens=False).ids
            if len(ids) == 1:
                found[number] = ids[0]
    return found


def _letters() -> dict[int, str]:
    """GPT-2's letters for bytes, written down anew."""
    plain = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    rest = [byte for byte in range(256) if byte not in plain]
    return {**{byte: chr(byte) for byte in plain}, **{byte: chr(256 + n) for n, byte in enumerate(rest)}}


def made(home: Path, *options: str) -> dict[str, np.ndarray]:
    assert main(["transplant-tokenizer", "model", "donor", "out", *options]) == OK
    return read_tensors(home / "out")


def about(home: Path) -> dict[str, Any]:
    manifest = read_manifest(home / "out")
    assert manifest is not None
    return dict(manifest.about)


def test_what_both_have_stays_to_the_byte(home: Path) -> None:
    tensors, before = made(home, "--approach", "mean"), read_tensors(home / "model")
    own = own_rows(home / "model")
    assert len(own) > 280
    for name in (EMBEDDING, HEAD):
        assert tensors[name].shape == (ROWS, 32)
        for number, row in own.items():
            np.testing.assert_array_equal(tensors[name][number], before[name][row], err_msg=TOKENS[number])
        mean = before[name].astype(np.float64).mean(axis=0)
        for number in {*range(ROWS)} - own.keys():
            np.testing.assert_allclose(tensors[name][number], mean, rtol=1e-2)
    for name in before.keys() - {EMBEDDING, HEAD}:
        np.testing.assert_array_equal(tensors[name], before[name])
    assert set(read_dtypes(home / "out").values()) == {"bfloat16"}


def test_config_and_files_are_those_of_the_new_vocabulary(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made(home, "--approach", "mean")
    config = json.loads((home / "out" / "config.json").read_text())
    assert (config["vocab_size"], config["bos_token_id"], config["eos_token_id"]) == (ROWS, BOS, EOS)
    assert config["pad_token_id"] == 0
    assert (home / "out" / "tokenizer.json").read_bytes() == (home / "donor" / "tokenizer.json").read_bytes()
    told = json.loads((home / "out" / "tokenizer_config.json").read_text())
    assert told["tokenizer_class"] == "PreTrainedTokenizerFast" and told["model_max_length"] == 512
    manifest = read_manifest(home / "out")
    assert manifest is not None and manifest.about["parents"][1] == {"ref": "donor", "commit": None}
    assert read_transplant((home / "out" / RECIPE_FILE).read_text()).approach == "mean"
    assert "with the tokenizer of donor" in (home / "out" / "README.md").read_text()
    said = capsys.readouterr().err
    assert '"<bos>" for "<s>" (bos)' in said
    assert "chat template" in said and "somewhat worse" in said


def test_the_models_template_can_be_kept(home: Path) -> None:
    made(home, "--approach", "zero", "--chat-template", "model")
    template = json.loads((home / "model" / "tokenizer_config.json").read_text())["chat_template"]
    assert (home / "out" / "chat_template.jinja").read_text() == template
    tensors = read_tensors(home / "out")
    assert not tensors[EMBEDDING][TOKENS.index("▁the")].any()


def test_pieces_are_averaged(home: Path) -> None:
    tensors, before = made(home, "--approach", "subword"), read_tensors(home / "model")
    cutter = Tokenizer.from_file(str(home / "model" / "tokenizer.json"))
    for token in NEW:
        ids = cutter.encode(token.replace("▁", " "), add_special_tokens=False).ids
        assert len(ids) > 1
        for name in (EMBEDDING, HEAD):
            wanted = before[name][ids].astype(np.float64).mean(axis=0)
            np.testing.assert_allclose(tensors[name][TOKENS.index(token)], wanted, rtol=1e-2, atol=1e-5)


def shared(home: Path) -> tuple[list[int], list[int]]:
    own = own_rows(home / "model")
    numbers = [number for number in sorted(own) if number >= len(SPECIAL)]
    return numbers, [own[number] for number in numbers]


def test_pursuit_describes_new_tokens_by_shared_ones(home: Path) -> None:
    tensors = made(home, "--approach", "omp", "--k", "6")
    before, donor = read_tensors(home / "model"), read_tensors(home / "donor")
    numbers, rows = shared(home)
    for name in (EMBEDDING, HEAD):
        anchors = donor[name][numbers].astype(np.float64)
        for token in NEW:
            target = donor[name][TOKENS.index(token)].astype(np.float64)
            chosen: list[int] = []
            left, weights = target, np.zeros(0)
            for _ in range(6):
                score = np.abs(anchors @ left) / np.linalg.norm(anchors, axis=1)
                score[chosen] = -1
                chosen.append(int(score.argmax()))
                weights = np.linalg.lstsq(anchors[chosen].T, target, rcond=None)[0]
                left = target - weights @ anchors[chosen]
            wanted = weights @ before[name][[rows[one] for one in chosen]].astype(np.float64)
            np.testing.assert_allclose(tensors[name][TOKENS.index(token)], wanted, rtol=1e-2, atol=1e-4)


def test_neighbours_are_averaged(home: Path) -> None:
    tensors = made(home, "--approach", "nearest", "--k", "3")
    before, donor = read_tensors(home / "model"), read_tensors(home / "donor")
    numbers, rows = shared(home)
    target = donor[EMBEDDING][TOKENS.index("the")].astype(np.float64)
    apart = target - donor[EMBEDDING][numbers]
    near = np.argsort(np.linalg.norm(apart, axis=1))[:3]
    spread = apart[near] @ apart[near].T
    weights = np.linalg.inv(spread + 1e-3 * np.trace(spread) * np.eye(3)).sum(axis=1)
    wanted = weights / weights.sum() @ before[EMBEDDING][[rows[one] for one in near]].astype(np.float64)
    np.testing.assert_allclose(tensors[EMBEDDING][TOKENS.index("the")], wanted, rtol=1e-2, atol=1e-4)


def test_a_tied_model_stays_tied(home: Path) -> None:
    make_tiny(home / "model", seed=1, vocab=380, tied=True)
    tensors = made(home, "--approach", "omp", "--k", "4")
    assert HEAD not in tensors and tensors[EMBEDDING].shape[0] == ROWS
    assert json.loads((home / "out" / "config.json").read_text())["tie_word_embeddings"] is True


def test_threads_change_no_byte(home: Path) -> None:
    made(home, *OMP, "--threads", "1")
    first = read_manifest(home / "out")
    assert main(["transplant-tokenizer", "model", "donor", "again", *OMP, "--threads", "3"]) == OK
    again = read_manifest(home / "again")
    assert first is not None and again is not None and first.about == again.about
    assert {one.name: one.sha256 for one in first.files if one.name != "README.md"} == {
        one.name: one.sha256 for one in again.files if one.name != "README.md"
    }


class Stopping(Quiet):
    """Stops when one token is described."""

    def progress(self, done: int, *, tensors: int = 0, tensor: str = "") -> None:
        super().progress(done, tensors=tensors, tensor=tensor)
        if self.stages[-1] == "transplanting":
            raise InterruptedError


def test_a_search_goes_on_where_it_was(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = made(home, *OMP)
    monkeypatch.setattr("worker.transplant.search.BATCH", 1)
    text = (home / "out" / RECIPE_FILE).read_text()
    library = open_library(Settings(), home)
    order = Order(recipe=text, work=home / "again.unfinished", final=home / "again", title="again", pin=False)
    with pytest.raises(InterruptedError):
        make_transplant(order, library, Stopping())
    watch = Quiet()
    again = make_transplant(order, library, watch)
    assert again.about == about(home)
    assert [line for line in watch.lines if "earlier attempt" in line] == [
        "1 of them was described by an earlier attempt."
    ]
    tensors = read_tensors(home / "again")
    assert all(np.array_equal(wanted[name], tensors[name]) for name in wanted)


def test_what_a_stopped_command_found_is_kept(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: object) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("worker.steps.align.write_aligned", stop)
    assert main(["transplant-tokenizer", "model", "donor", "out", *OMP]) == FAILED
    assert {path.name[: len(KEPT)] for path in (home / "out.unfinished").iterdir()} == {KEPT}


def refusal(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = REFUSED) -> str:
    assert main(["transplant-tokenizer", *arguments, "out", "--json"]) == code
    found = json.loads(capsys.readouterr().out)["findings"]
    return ",".join(one["code"] for one in found if one["level"] == "error")


def test_what_cannot_work_is_refused_before_weights_are_read(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert refusal(capsys, "model", "model") == "same-tokenizer"
    make_tiny(home / "tuned", seed=3, base=home / "model")
    assert refusal(capsys, "model", "tuned") == "same-tokenizer"
    (home / "tuned" / "tokenizer.json").unlink()
    assert refusal(capsys, "tuned", "donor") == "no-tokenizer"
    assert refusal(capsys, "model", "donor", "--k", "9999", code=USAGE) == "bad-value"
    assert refusal(capsys, "donor", "model", "--chat-template", "model") == "no-chat-template"
    assert not (home / "out").exists()


def test_tokens_for_more_than_text_must_be_in_the_donor(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = json.loads((home / "model" / "config.json").read_text())
    write_json(home / "model" / "config.json", {**config, "image_token_id": 4})
    assert refusal(capsys, "model", "donor") == "special-tokens-missing"
    write_json(home / "model" / "config.json", {**config, "vocab_size_per_layer_input": 300})
    assert refusal(capsys, "model", "donor") == "second-vocabulary"
