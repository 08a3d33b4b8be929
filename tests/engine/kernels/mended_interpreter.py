"""Triton 3.6's interpreter, mended where matrix products need it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from triton import language as tl
from triton.runtime import interpreter


@pytest.fixture(autouse=True)
def mended_interpreter(monkeypatch: pytest.MonkeyPatch) -> None:
    """For a test module that imports it: kernels run in the mended interpreter, unless there is a GPU."""
    if not torch.cuda.is_available():
        mend(monkeypatch)


def mend(patch: pytest.MonkeyPatch) -> None:
    """Its tl.dot takes the bits of bfloat16 for integers, and has BLAS round a row by its place among the others, as no tensor core does.

    It makes integers of the same bits of integers that become bfloat16. Numpy 2.4 takes none of its numbers for the bound of a loop.
    """
    patch_tensor: Callable[..., None] = interpreter._patch_lang_tensor

    def product_by_row(builder, a, b, total, *_precision):  # type: ignore[no-untyped-def]
        if a.dtype.scalar == tl.bfloat16:
            a, b = builder.cast_impl(a, tl.float32), builder.cast_impl(b, tl.float32)
        product = np.matmul(a.data[:, None], b.data[None], dtype=total.data.dtype)[:, 0]
        return interpreter.TensorHandle(product + total.data, total.dtype.scalar)

    def from_integers(builder, integers, dtype):  # type: ignore[no-untyped-def]
        exact = builder.cast_impl(integers, tl.float32)
        return builder.cast_impl(exact, dtype)

    def patch_tensor_and_index(tensor, scope):  # type: ignore[no-untyped-def]
        patch_tensor(tensor, scope)
        scope.set_attr(tensor, "__index__", lambda self: self.handle.data.item())

    patch.setattr(interpreter.InterpreterBuilder, "create_dot", product_by_row)
    patch.setattr(interpreter.InterpreterBuilder, "create_si_to_fp", from_integers)
    patch.setattr(interpreter, "_patch_lang_tensor", patch_tensor_and_index)
