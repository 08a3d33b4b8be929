"""The fewest bytes a step must read and the operations a prompt takes, and the time of it at the rate the device reaches."""

from __future__ import annotations

from specdec.architecture import ModelConfig


def step_bytes(config: ModelConfig, context: int, element_bytes: int) -> int:
    """Bytes of the matrices of a forward pass, the output head included, and of the keys and values of `context` tokens.

    Norms and the rows of the embedding that are looked up are left out (under 0.1%).
    """
    key_values = config.layers * 2 * config.kv_size * context
    return (config.linear_parameters + key_values) * element_bytes


def int4_matrix_bytes(rows: int, width: int) -> int:
    """Bytes of a matrix at 4 bits a weight; scales, which differ between backends, are left out."""
    return rows * width // 2


def prefill_operations(config: ModelConfig, tokens: int) -> int:
    """Floating-point operations of reading a prompt into an empty cache, a multiplication and an addition for each weight and each score.

    Keys behind a row and the output head, which prefill does not run, are left out.
    """
    matrices = 2 * (config.linear_parameters - config.head_parameters) * tokens
    seen = tokens * (tokens + 1) // 2
    return matrices + 4 * config.layers * config.query_size * seen


def floor_ms(size: int, bytes_per_second: float) -> float:
    """Milliseconds of moving that many bytes."""
    return size / bytes_per_second * 1000
