"""What loads a result, told from the names of its files, and the lines of Python that do it."""

from __future__ import annotations

from collections.abc import Collection, Iterable

TRANSFORMERS, DIFFUSERS, SAFETENSORS = "transformers", "diffusers", "safetensors"
"""The last gives only tensors by name, for weights without a config."""


def library_of(names: Collection[str]) -> str:
    if "config.json" not in names:
        return SAFETENSORS
    return DIFFUSERS if any(name.startswith("diffusion_pytorch_model") for name in names) else TRANSFORMERS


def with_diffusers(folder: str) -> str:
    """``folder``: an expression of Python."""
    return f"from diffusers import AutoModel\n\nmodel = AutoModel.from_pretrained({folder})\n"


def with_safetensors(names: Iterable[str], folder: str) -> str:
    """Every tensor by its name. ``folder``: an expression of Python."""
    listed = [name for name in names if name.endswith(".safetensors")]
    return (
        "from pathlib import Path\n\n"
        "from safetensors.torch import load_file\n\n"
        f"folder = Path({folder})\n"
        "tensors = {}\n"
        f"for name in {listed!r}:\n"
        "    tensors |= load_file(folder / name)\n"
    )
