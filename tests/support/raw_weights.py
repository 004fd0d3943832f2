"""Weights without a config: named like those of a diffusion model, which has stacks of blocks, and like those of an
audio model, which has none."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tests.support.checkpoints import write_file

Tensors = dict[str, np.ndarray]

BLOCKS = 3


def unet(seed: int, near: Tensors | None = None) -> Tensors:
    """Blocks with convolutions and attention, embeddings of time, a lone number. ``near``: a fine-tune of that."""
    shapes: dict[str, tuple[int, ...]] = {"time_embedding.linear_1.weight": (24, 8), "conv_in.weight": (8, 4, 3, 3)}
    for block in range(BLOCKS):
        at = f"down_blocks.{block}"
        shapes |= {f"{at}.resnets.0.conv1.weight": (8, 8, 3, 3), f"{at}.resnets.0.norm1.weight": (8,)}
        shapes |= {f"{at}.resnets.0.norm1.bias": (8,), f"{at}.attentions.0.to_q.weight": (8, 8)}
    return _drawn(shapes | {"conv_out.weight": (4, 8, 3, 3), "logit_scale": ()}, seed, near)


def vocoder(seed: int, near: Tensors | None = None) -> Tensors:
    """Convolutions one after the other, no two alike."""
    shapes: dict[str, tuple[int, ...]] = {"conv_pre.weight": (16, 6, 7), "conv_pre.bias": (16,)}
    shapes |= {"ups.0.weight_v": (16, 8, 4), "ups.1.weight_g": (8, 1, 1), "conv_post.weight": (1, 8, 7)}
    return _drawn(shapes, seed, near)


def _drawn(shapes: dict[str, tuple[int, ...]], seed: int, near: Tensors | None) -> Tensors:
    rng = np.random.default_rng(seed)
    drawn = {name: np.asarray(rng.normal(0, 1, shape), np.float32) for name, shape in shapes.items()}
    return drawn if near is None else {name: near[name] + np.float32(0.05) * drawn[name] for name in shapes}


def write(path: Path, tensors: Tensors, dtype: str = "float32") -> Path:
    """One file, whose folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_file(path, tensors, dtype)
    return path
