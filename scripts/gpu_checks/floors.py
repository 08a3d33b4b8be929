"""The fewest bytes a step must read, and the time that takes at the bandwidth a copy reaches."""

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


def floor_ms(size: int, bytes_per_second: float) -> float:
    """Milliseconds of moving that many bytes."""
    return size / bytes_per_second * 1000
