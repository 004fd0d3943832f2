"""Methods on the sphere, told by inner products alone.

Each of these methods returns a linear combination of its inputs, and the coefficients depend on nothing but the
matrix of their inner products. So one pass over the tensors gives the matrix, and these functions, in fp64, the rest.

``gram`` is fp64 [..., n, n], symmetric: inner products of the inputs, or of their changes from the base. Leading axes
are rows treated one by one. Results are fp64 [..., n], one coefficient for each input or change.
"""

from __future__ import annotations

from math import sqrt

import numpy as np

from worker.engine.dtypes import Array

_NOISE = 1e-7
"""What rounding leaves of zero in inner products of directions: squared lengths, and cosines beside -1."""
_STANDSTILL = 1e-12
"""A step that fp64 cannot tell from none: whatever the tolerance, nothing more is found."""


class NoDirection(ValueError):
    """The directions cancel out: there is no mean of them."""


def _norms(gram: Array) -> Array:
    return np.asarray(np.sqrt(np.maximum(np.diagonal(gram, axis1=-2, axis2=-1), 0.0)))


def _arc(cosine: Array, t: float, straight: Array) -> Array:
    """[sin((1−t)θ), sin(tθ)] / sin θ with cos θ = ``cosine``; [1 − t, t] where ``straight``."""
    theta = np.arccos(np.where(straight, 0.0, cosine))
    arc = np.stack([np.sin((1.0 - t) * theta), np.sin(t * theta)], axis=-1) / np.sin(theta)[..., None]
    return np.where(straight[..., None], np.array([1.0 - t, t]), arc)


def slerp(gram: Array, t: float) -> Array:
    """Shoemake 1985. Nearly parallel or antiparallel (|cos θ| > 0.9995): the straight line."""
    norms = _norms(gram)
    norms = np.where(norms > 1e-8, norms, 1.0)
    cosine = np.clip(gram[..., 0, 1] / (norms[..., 0] * norms[..., 1]), -1.0, 1.0)
    return _arc(cosine, t, np.abs(cosine) > 0.9995)


def nuslerp(gram: Array, first: float, second: float) -> Array:
    """SLERP with t = w₂/(w₁+w₂), ½ when the weights cancel; a straight line only for exactly collinear vectors."""
    total = first + second
    t = 0.5 if abs(total) < 1e-6 else second / total
    norms = np.maximum(_norms(gram), 1e-7)
    cosine = np.clip(gram[..., 0, 1] / (norms[..., 0] * norms[..., 1]), -1.0, 1.0)
    return _arc(cosine, t, 1.0 - cosine * cosine <= 1e-16)


def multislerp(gram: Array, weights: Array, normalize: bool, eps: float) -> Array:
    """The weighted mean of the directions on the sphere, at the weighted mean length. ``gram`` [n, n].

    Raises NoDirection when the directions cancel out and there are more than two.
    """
    count = len(weights)
    if count == 1:
        return np.ones(1)
    weights = weights / weights.sum() if normalize else weights
    norms = _norms(gram)
    if not norms.any():
        return weights
    units = np.diag(1.0 / (norms + eps))
    mean = weights @ units
    length = _length(gram, mean)
    if length < max(eps, sqrt(_NOISE) * float(np.abs(weights).sum())):
        if count == 2:
            return weights
        raise NoDirection
    mean = mean / length
    along = units @ gram @ mean
    tangent = weights @ (units - np.outer(along, mean))
    angle = _length(gram, tangent) + eps
    return np.asarray((mean * np.cos(angle) + tangent * (np.sin(angle) / angle)) * float(weights @ norms))


def _length(gram: Array, vector: Array) -> float:
    return sqrt(max(float(vector @ gram @ vector), 0.0))


def karcher(gram: Array, max_iter: int, tol: float) -> Array:
    """The Karcher mean of the directions, all weighing the same, at the mean length. ``gram`` [n, n]. A direction
    straight opposite pulls nowhere: every way there is equally long."""
    norms = _norms(gram)
    valid = norms > tol
    if not valid.any():
        return np.zeros(len(norms))
    share = valid / valid.sum()
    units = np.diag(np.where(valid, 1.0 / np.where(valid, norms, 1.0), 0.0))
    mean = share @ units
    length = _length(gram, mean)
    mean = units[int(np.argmax(valid))] if length < max(tol, sqrt(_NOISE)) else mean / length
    for _ in range(max_iter):
        along = np.clip(units @ gram @ mean, -1.0, 1.0)
        angles = np.arccos(along)
        far = valid & (angles >= tol) & (along > 10 * _NOISE - 1.0)
        pull = np.where(far, share * angles / np.where(far, np.sin(angles), 1.0), 0.0)
        tangent = pull @ (units - np.outer(along, mean))
        step = _length(gram, tangent)
        if step < max(tol, _STANDSTILL):
            break
        mean = np.cos(step) * mean + np.sin(step) / step * tangent
        mean = mean / _length(gram, mean)
    return np.asarray(mean * norms.mean())


def model_stock(gram: Array) -> Array:
    """t/k for each of the k ≥ 2 changes, with t = k·c/(1 + (k−1)·c) and c their mean cosine. arXiv:2403.19522."""
    count = gram.shape[-1]
    norms = _norms(gram)
    first, second = np.triu_indices(count, 1)
    scale = np.maximum(norms[..., first] * norms[..., second], 1e-6)
    cosine = np.clip(gram[..., first, second] / scale, -1.0, 1.0).mean(axis=-1)
    below = 1.0 + (count - 1) * cosine
    usable = np.abs(below) >= 1e-6
    t = np.where(usable, count * cosine / np.where(usable, below, 1.0), 0.0)
    return np.repeat(t[..., None] / count, count, axis=-1)
