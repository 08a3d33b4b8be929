"""What a machine offers an engine, as the app is told; free of torch."""

from __future__ import annotations

from specdec.options import Options


class Gpu(Options):
    """A graphics card; sizes in bytes."""

    name: str
    driver: str
    capability: str
    total_bytes: int
    free_bytes: int


class Int4Timing(Options):
    """An INT4 backend: its time for one row as a share of full precision's, or why it cannot be used here."""

    name: str
    relative_time: float | None
    problem: str = ""


class MachineFacts(Options):
    """Measured and looked up on the engine's side; `versions` holds None for a package that is not there.

    `copy_bytes_per_second` counts bytes read and written by a large copy on the device that would be used.
    """

    processor: str
    cores: int
    total_bytes: int
    free_bytes: int
    device: str
    gpus: tuple[Gpu, ...]
    versions: dict[str, str | None]
    cuda: str | None
    int4: tuple[Int4Timing, ...]
    int4_chosen: str | None
    copy_bytes_per_second: float
