"""Picking some of many values, sixteen at a time: what a plain loop does one by one."""

from __future__ import annotations

from typing import Any

from llvmlite import ir  # type: ignore[import-untyped]
from numba.core import types
from numba.extending import intrinsic

from worker.engine.dtypes import STEP

_LONG, _WORDS = types.int64, types.Array(types.uint32, 1, "C")
_FLOATS, _BYTES = types.Array(types.float32, 1, "C"), types.Array(types.uint8, 1, "C")
_SEVERAL, _SINGLES = ir.VectorType(ir.IntType(32), STEP), ir.VectorType(ir.FloatType(), STEP)
_BOOLS = ir.VectorType(ir.IntType(1), STEP)
_MASK = ir.IntType(STEP)


def _intrinsic(signature: Any, generate: Any) -> Any:
    """``generate(builder, place, arguments)``; ``place(i, at, kind)``: the address of element ``at`` of argument i."""

    def typer(_typing: Any, _a: Any, _b: Any, _c: Any, _d: Any, _e: Any, _f: Any) -> Any:
        def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            def place(i: int, at: Any, kind: Any) -> Any:
                array = context.make_array(signature.args[i])(context, builder, arguments[i])
                return builder.bitcast(builder.gep(array.data, [at]), kind.as_pointer())

            return generate(builder, place, arguments)

        return signature, build

    return intrinsic(typer)


def _compressed(builder: Any, values: Any, chosen: Any) -> Any:
    """The chosen ones of 16 values, the others' room undefined."""
    kind = ir.FunctionType(_SEVERAL, [_SEVERAL, _BOOLS, _SEVERAL])
    name = f"llvm.experimental.vector.compress.v{STEP}i32"
    compress = builder.module.globals.get(name) or ir.Function(builder.module, kind, name)
    return builder.call(compress, [values, chosen, ir.Constant(_SEVERAL, ir.Undefined)])


def _count(builder: Any, chosen: Any) -> Any:
    return builder.ctpop(builder.zext(builder.bitcast(chosen, _MASK), ir.IntType(64)))


def _repeated(builder: Any, value: Any) -> Any:
    one = builder.insert_element(ir.Constant(_SEVERAL, ir.Undefined), value, ir.Constant(ir.IntType(32), 0))
    return builder.shuffle_vector(one, one, ir.Constant(_SEVERAL, [0] * STEP))


def _pick(builder: Any, place: Any, arguments: Any) -> Any:
    _, at, first, width, _, found = arguments
    values = builder.load(place(0, at, _SEVERAL), align=4)
    chosen = builder.icmp_unsigned("<", builder.sub(values, _repeated(builder, first)), _repeated(builder, width))
    builder.store(_compressed(builder, values, chosen), place(4, found, _SEVERAL), align=4)
    return builder.add(found, _count(builder, chosen))


def _part(builder: Any, place: Any, arguments: Any) -> Any:
    _, at, _, _, found, _ = arguments
    zero = builder.icmp_unsigned("==", builder.load(place(0, at, _SEVERAL), align=4), ir.Constant(_SEVERAL, [0] * STEP))
    other = builder.not_(zero)
    first = _repeated(builder, builder.trunc(at, ir.IntType(32)))
    places = builder.add(first, ir.Constant(_SEVERAL, list(range(STEP))))
    builder.store(_compressed(builder, places, zero), place(2, builder.sub(at, found), _SEVERAL), align=4)
    builder.store(_compressed(builder, places, other), place(3, found, _SEVERAL), align=4)
    return builder.add(found, _count(builder, other))


def _mark(builder: Any, place: Any, arguments: Any) -> Any:
    _, at, threshold, _, byte, result = arguments
    words = builder.load(place(0, at, _SEVERAL), align=4)
    chosen = builder.icmp_unsigned("<", words, _repeated(builder, threshold))
    builder.store(builder.bitcast(chosen, _MASK), place(3, byte, _MASK), align=1)
    return result


def _keep(builder: Any, place: Any, arguments: Any) -> Any:
    _, at, _, byte, _, result = arguments
    chosen = builder.bitcast(builder.load(place(2, byte, _MASK), align=1), _BOOLS)
    values = builder.load(place(0, at, _SINGLES), align=4)
    kept = builder.select(chosen, values, ir.Constant(_SINGLES, [0.0] * STEP))
    builder.store(kept, place(0, at, _SINGLES), align=4)
    return result


pick_step = _intrinsic(_LONG(_WORDS, _LONG, types.uint32, types.uint32, _WORDS, _LONG), _pick)
"""``pick_step(values, at, first, width, picked, found)``: of the 16 values from ``values[at]`` on those with
value − first < width go to ``picked[found]``..., which has room for 16. Returns what ``found`` is then."""

part_step = _intrinsic(_LONG(_WORDS, _LONG, _WORDS, _WORDS, _LONG, _LONG), _part)
"""``part_step(values, at, zeros, others, found, 0)``: of the 16 places from ``at`` on those with value 0 go to
``zeros[at - found]``... and the others to ``others[found]``..., which have room for 16. Returns what ``found`` is
then."""

mark_step = _intrinsic(_LONG(_WORDS, _LONG, types.uint32, _BYTES, _LONG, _LONG), _mark)
"""``mark_step(words, at, threshold, bits, byte, 0)``: sets the 16 bits from ``bits[byte]`` on, the least significant
first, for words below ``threshold``."""

keep_step = _intrinsic(_LONG(_FLOATS, _LONG, _BYTES, _LONG, _LONG, _LONG), _keep)
"""``keep_step(values, at, bits, byte, 0, 0)``: clears those of 16 values whose bits are not set."""
