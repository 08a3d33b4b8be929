"""What every stage is told: the device, the sizes to measure at, and when to stop."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import torch

from gpu_checks import bandwidth, shapes
from specdec.architecture import ModelConfig

DtypeName = Literal["float16", "bfloat16", "float32"]
STAGE_SECONDS = 360.0
ROWS = (1, 2, 4, 8, 16)


@dataclass(frozen=True)
class Setup:
    """A device, whether everything is scaled down so that a CPU can run it in seconds, and where the widened demo pair lies or is made."""

    device: torch.device
    tiny: bool
    widened: Path

    @property
    def on_gpu(self) -> bool:
        """Whether there is a GPU to measure."""
        return self.device.type == "cuda"

    @property
    def full_size(self) -> bool:
        """Whether the figures are those that the goals speak of."""
        return self.on_gpu and not self.tiny

    @property
    def dtypes(self) -> tuple[DtypeName, ...]:
        """The names of the dtypes to measure, the engine's own choice for the device first."""
        return ("float16", "bfloat16") if self.on_gpu else ("float32", "bfloat16")

    @property
    def dtype(self) -> torch.dtype:
        """The engine's own choice for the device."""
        found: torch.dtype = getattr(torch, self.dtypes[0])
        return found

    @property
    def contexts(self) -> tuple[int, ...]:
        """The context lengths to measure at, in tokens."""
        return (64, 192) if self.tiny else (1024, 8192, 32768)

    @property
    def repeats(self) -> int:
        """How often a call is timed."""
        return 3 if self.tiny else 20

    def shape(self, name: str) -> ModelConfig:
        """The config of a model, scaled down if everything is."""
        return shapes.tiny(shapes.SHAPES[name]) if self.tiny else shapes.SHAPES[name]

    @cached_property
    def bandwidth(self) -> float:
        """Bytes read and written per second by a large copy on the device, measured once."""
        return bandwidth.copy_bytes_per_second(self.device, 2**22 if self.tiny else 2**32)
