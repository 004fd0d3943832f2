"""The one catalogue of merge methods: validation, forms, docs, card and engine all read it.

Defaults, scopes and requirements are those of mergekit 0.1.5, so that its recipes keep their meaning.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from app.recipe.method import Method, Parameter, Scope

__all__ = ["METHODS", "Method", "Parameter"]


def _weight(sentence: str = "How much of this parent goes in.", scope: Scope = "non_base") -> Parameter:
    return Parameter("weight", sentence, scope=scope, required=True, low=-0.5, high=1.5)


_LAMBDA = Parameter("lambda", "Scales the merged change before it is added to the base.", default=1.0, high=2.0)
_INT8 = Parameter(
    "int8_mask", "Has no effect here; kept for recipes that set it.", kind="boolean", default=False, curve=False,
    advanced=True, used=False,
)  # fmt: skip
_DENSITY = Parameter(
    "density", "The share of this parent's changes that is kept.", scope="non_base", default=1.0, minimum=0.0,
    maximum=1.0,
)  # fmt: skip


def _normalize(default: bool) -> Parameter:
    return Parameter("normalize", "Divide by the sum of the weights.", kind="boolean", default=default)


def _rescale(default: bool, used: bool = True) -> Parameter:
    return Parameter(
        "rescale", "Make up for what was dropped, so that a parent's change keeps its total size.", kind="boolean",
        default=default, used=used, advanced=not used,
    )  # fmt: skip


def _deltas(normalize: bool, rescale: bool) -> tuple[Parameter, ...]:
    return (_weight(), _DENSITY, _normalize(normalize), _rescale(rescale), _LAMBDA, _INT8)


_GAMMA = Parameter(
    "gamma", "The share of this parent's very largest changes that is dropped too.", scope="non_base", default=0.01,
    minimum=0.0, maximum=1.0, high=0.2, step=0.01,
)  # fmt: skip
_EPSILON_DELLA = Parameter(
    "epsilon", "How much the chance to be kept differs between small and large changes.", scope="non_base",
    default=0.15, minimum=0.0, maximum=1.0, high=0.5, step=0.01,
)  # fmt: skip
_EPSILON_RAM = Parameter(
    "epsilon", "Changes no larger than this count as no change.", default=1e-5, minimum=0.0, high=1e-3, step=1e-5,
    curve=False, advanced=True,
)  # fmt: skip
_THRESHOLD = Parameter(
    "threshold", "How large this parent's change must be, beside what the others add, to have a say; lower is more.",
    scope="non_base", default=0.4, minimum=0.0,
)  # fmt: skip
_AGREE = Parameter(
    "k", "How many parents must have a say in a weight for it to change.", kind="integer", default=2, minimum=1,
    low=1, high=4, step=1, curve=False,
)  # fmt: skip
_T = Parameter("t", "0 is the base, 1 is the other parent.", required=True)

_METHODS = (
    Method(
        "linear", "Linear (LERP)", "The weighted average of the parents.",
        "Fine-tunes of one base that should simply meet in the middle; model soups.",
        "y = Σ wᵢ xᵢ / Σ wᵢ", "2203.05482", "ignored",
        (_weight(scope="parent"), _normalize(True)),
    ),
    Method(
        "slerp", "SLERP", "Walks from one parent to the other along the arc between them, not the chord.",
        "Exactly two fine-tunes of one base. The classic first merge.",
        "y = [sin((1−t)θ)·a + sin(tθ)·o] / sin θ", "Shoemake 1985", "required", (_T,),
        min_parents=2, max_parents=2, base_counts=True,
    ),
    Method(
        "nuslerp", "NuSLERP", "SLERP with a weight for each parent, on the weights or on the changes from a base.",
        "Two parents, when you think in weights rather than in t.",
        "t = w₂/(w₁+w₂); y = b + slerp(t, x₁−b, x₂−b)", "Shoemake 1985", "optional",
        (
            _weight(),
            Parameter("nuslerp_flatten", "Treat the tensor as one vector.", kind="boolean", default=True),
            Parameter("nuslerp_row_wise", "Without flattening: rows instead of columns.", kind="boolean",
                      default=False, advanced=True),
        ), min_parents=2, max_parents=2,
    ),
    Method(
        "multislerp", "Multi-SLERP", "SLERP for any number of parents: the weighted mean on the sphere.",
        "More than two parents with the same base, when averaging shrinks them too much.",
        "m = normalise(Σ wᵢ uᵢ); y = exp_m(Σ wᵢ log_m uᵢ) · Σ wᵢ‖xᵢ‖",
        "goddard.blog/posts/multislerp-wow-what-a-cool-idea", "optional",
        (
            _weight(),
            Parameter("normalize_weights", "Divide the weights by their sum.", kind="boolean", default=True),
            Parameter("eps", "Guard against division by zero.", default=1e-8, minimum=0.0, curve=False, advanced=True),
        ),
    ),
    Method(
        "karcher", "Karcher mean", "The point on the sphere with the least squared distance to all parents.",
        "Several parents of equal standing, no weights to choose.",
        "m = argmin Σ d(m, uᵢ)²; y = m · mean ‖xᵢ‖", "Grove & Karcher 1973", "ignored",
        (
            Parameter("max_iter", "Most iterations.", kind="integer", default=10, minimum=1, maximum=10_000, high=100,
                      step=1, curve=False, advanced=True),
            Parameter("tol", "Stop when the step is smaller.", default=1e-5, minimum=0.0, curve=False, advanced=True),
        ),
    ),
    Method(
        "task_arithmetic", "Task arithmetic", "Adds each parent's change from the base, scaled by its weight.",
        "Parents that learnt different things from one base. The method with the best record on real models.",
        "y = b + λ Σ wᵢ (xᵢ − b)", "2212.04089", "required",
        (
            _weight(),
            Parameter("density", "Has no effect in this method.", scope="non_base", default=1.0, used=False,
                      advanced=True),
            _normalize(False), _rescale(False, used=False), _LAMBDA, _INT8,
        ),
    ),
    Method(
        "transfer", "Task vector transfer", "Adds to the first model what the others learnt from the base.",
        "A chat model and a specialist of the same base: the first keeps its manners and gains the skill.",
        "y = x₁ + λ Σ wᵢ (xᵢ − b), i ≥ 2", "2310.04799", "required",
        (
            Parameter("weight", "How much of what this model learnt is added; of no effect for the first.",
                      scope="non_base", default=1.0, low=-0.5, high=1.5),
            _LAMBDA,
        ), min_parents=2, receives=True,
    ),
    Method(
        "ties", "TIES",
        "Keeps each parent's largest changes from the base, settles sign conflicts by vote, then averages what agrees.",
        "Three or more fine-tunes of one base that get in each other's way.",
        "y = b + λ · Σ[sign agrees] wᵢ topᵢ / Σ[sign agrees] wᵢ", "2306.01708", "required", _deltas(True, False),
    ),
    Method(
        "dare_linear", "DARE", "Drops a random share of each parent's changes, scales up the rest and adds them.",
        "Fine-tunes whose changes are small and redundant.",
        "y = b + λ Σ wᵢ · rescale(Bernoulli(ρ) ⊙ δᵢ)", "2311.03099", "required", _deltas(False, True), random=True,
    ),
    Method(
        "dare_ties", "DARE-TIES", "DARE's random dropping, then the sign vote of TIES.",
        "Several fine-tunes of one base; a popular default of published merges.",
        "y = b + λ Σ[sign agrees] wᵢ · rescale(Bernoulli(ρ) ⊙ δᵢ)", "2311.03099", "required", _deltas(False, True),
        random=True,
    ),
    Method(
        "breadcrumbs", "Model Breadcrumbs", "Drops each parent's smallest and its very largest changes.",
        "Many parents, when outliers hurt.",
        "y = b + λ Σ wᵢ · middleᵢ", "2312.06795", "required", (_weight(), _DENSITY, _GAMMA, *_deltas(False, False)[2:]),
    ),
    Method(
        "breadcrumbs_ties", "Breadcrumbs-TIES", "Breadcrumbs' trimming, then the sign vote of TIES.",
        "As Breadcrumbs, with parents that contradict each other.",
        "y = b + λ Σ[sign agrees] wᵢ · middleᵢ", "2312.06795", "required",
        (_weight(), _DENSITY, _GAMMA, *_deltas(False, False)[2:]),
    ),
    Method(
        "della", "DELLA", "Drops changes at random, small ones more often, then votes on signs like TIES.",
        "As DARE-TIES, keeping more of what matters at low density.",
        "y = b + λ Σ[sign agrees] wᵢ · rescale(Bernoulli(p(rank)) ⊙ δᵢ)", "2406.11617", "required",
        (_weight(), _DENSITY, _EPSILON_DELLA, *_deltas(True, True)[2:]), random=True,
    ),
    Method(
        "della_linear", "DELLA (linear)", "DELLA's dropping without the sign vote.",
        "As DARE, keeping more of what matters at low density.",
        "y = b + λ Σ wᵢ · rescale(Bernoulli(p(rank)) ⊙ δᵢ)", "2406.11617", "required",
        (_weight(), _DENSITY, _EPSILON_DELLA, *_deltas(False, True)[2:]), random=True,
    ),
    Method(
        "consensus_ta", "Consensus (task arithmetic)",
        "Adds up the changes, and keeps those weights in which at least k parents have a say.",
        "Several fine-tunes of one base for different tasks: what only one of them needs is left out.",
        "y = b + λ Σ wᵢδᵢ where at least k of |wᵢδᵢ| ≥ τᵢ |Σ wⱼδⱼ − wᵢδᵢ|, else b", "2405.07813", "required",
        (_weight(), _THRESHOLD, _AGREE, _normalize(False), _LAMBDA), min_parents=2,
    ),
    Method(
        "consensus_ties", "Consensus-TIES",
        "TIES, and of its result those weights in which at least k parents have a say.",
        "As Consensus, with parents that contradict each other.",
        "y = b + λ m where at least k of |wᵢδᵢ| ≥ τᵢ |m − wᵢδᵢ|, else b; m = Σ[sign agrees] wᵢ topᵢ", "2405.07813",
        "required", (_weight(), _DENSITY, _THRESHOLD, _AGREE, _normalize(False), _LAMBDA), min_parents=2,
    ),
    Method(
        "model_stock", "Model Stock", "Goes from the base towards the parents' mean as far as their angles say.",
        "Two or more fine-tunes of the same task with different seeds or data; nothing to tune.",
        "t = k·cos θ / (1 + (k−1)·cos θ); y = t·mean(xᵢ) + (1−t)·b", "2403.19522", "required",
        (Parameter("filter_wise", "One angle a row instead of one a tensor.", kind="boolean", default=False),),
        min_parents=2,
    ),
    Method(
        "sce", "SCE",
        "Selects the weights on which the parents differ most, weighs parents by their change, drops minority signs.",
        "Parents with very different strengths, no weights to choose.",
        "y = b + Σ aᵢ[sign agrees] vᵢ / Σ aᵢ[sign agrees], aᵢ ∝ mean vᵢ²", "2408.07990", "required",
        (
            Parameter("select_topk", "The share of weights, by variance over the parents, that may change.",
                      default=1.0, minimum=0.0, maximum=1.0),
            _INT8,
        ),
    ),
    Method(
        "nearswap", "NearSwap", "Moves the base to the other parent only where the two are already close.",
        "Colouring a strong base with a little of another model.",
        "w = clamp(t / |b − x|, 0, 1); y = w·x + (1−w)·b", "huggingface.co/alchemonaut/QuartetAnemoi-70B-t0.0001",
        "required", (Parameter("t", "The distance up to which the other parent is taken whole.", required=True,
                               minimum=0.0, high=0.01, step=0.0001),),
        min_parents=2, max_parents=2, base_counts=True,
    ),
    Method(
        "arcee_fusion", "Arcee Fusion", "Takes over from the other parent only the changes that stand out.",
        "Two models of one lineage, when most of the difference is noise.",
        "I = |x−b| · KL(softmax x ‖ softmax b); y = x where I ≥ median + 1.5·IQR, else b", "docs.arcee.ai",
        "required", (), min_parents=2, max_parents=2, base_counts=True,
    ),
    Method(
        "ram", "RAM", "Keeps changes that one parent alone made, averages those that several made.",
        "Parents trained by reinforcement learning: sparse changes in different places.",
        "y = b + Σ vᵢ[only i changed] + mean of the changers elsewhere", "2601.13572", "required", (_EPSILON_RAM,),
    ),
    Method(
        "ramplus_tl", "RAM+ (tensor-local)",
        "RAM, with the changes of one parent alone enlarged by how much it shares elsewhere.",
        "As RAM, when the specialists come out too weak.",
        "as RAM with λᵢ = 1 + r·clamp(sharedᵢ/uniqueᵢ, 0, α) on unique changes", "2601.13572", "required",
        (
            Parameter("r", "How strongly unique changes are enlarged.", default=0.1),
            Parameter("alpha", "Upper bound of the enlarging ratio.", default=0.2),
            _EPSILON_RAM,
        ),
    ),
    Method(
        "passthrough", "Passthrough", "Takes each layer from one parent unchanged: stacks and frankenmerges.",
        "Building a deeper model out of layer ranges. Experimental by nature: expect to fine-tune afterwards.",
        "y = s·x", "2312.15166", "ignored",
        (Parameter("scale", "Multiplies the tensor.", scope="parent", low=0.0, high=2.0, neutral=1.0),),
        max_parents=1,
    ),
)  # fmt: skip

METHODS: Mapping[str, Method] = MappingProxyType({method.name: method for method in _METHODS})
