"""models.toml: the pairs a user can pick, read into PairSpec; the user's own file overlays the shipped one."""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from specdec.errors import RegistryError
from specdec.options import DtypeChoice


class DraftSpec(BaseModel):
    """A draft a pair offers: the target's own INT4 copy, or a sibling model with a source of its own."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    kind: Literal["int4", "sibling"]
    source: str | None = None
    download_bytes: int = Field(default=0, ge=0)

    @model_validator(mode="after")
    def _source_fits_kind(self) -> DraftSpec:
        if (self.kind == "sibling") != (self.source is not None):
            raise ValueError("a sibling needs a source; an int4 copy has none")
        return self


class PairSpec(BaseModel):
    """A target with its drafts, best first, as models.toml lists it; sizes are bytes to download (0: nothing to fetch)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    title: str
    target: str
    drafts: tuple[DraftSpec, ...] = ()
    dtype: DtypeChoice = "auto"
    context: int = Field(ge=16)
    license: str
    download_bytes: int = Field(default=0, ge=0)
    note: str = ""

    def draft(self, name: str) -> DraftSpec:
        """The draft of that name; raises RegistryError naming the ones there are."""
        for draft in self.drafts:
            if draft.name == name:
                return draft
        known = ", ".join(draft.name for draft in self.drafts) or "none but n-gram lookup"
        raise RegistryError(f"Pair {self.name} has no draft named {name}.", f"It has: {known}.")


def shipped_file() -> Path:
    """Where the models.toml that comes with specchat lies: inside the package, or at the top of a source checkout."""
    inside = Path(__file__).parent / "models.toml"
    return inside if inside.exists() else Path(__file__).parents[2] / "models.toml"


def load_registry(user_file: Path | None = None) -> dict[str, PairSpec]:
    """All pairs by name, in file order; a pair in `user_file` replaces the shipped one of the same name.

    Raises RegistryError with file, line and field for anything that cannot be read.
    """
    pairs = _read(shipped_file())
    if user_file is not None and user_file.exists():
        pairs |= _read(user_file)
    return pairs


def find_pair(pairs: Mapping[str, PairSpec], name: str) -> PairSpec:
    """The pair of that name; raises RegistryError with the nearest names."""
    if name in pairs:
        return pairs[name]
    near = difflib.get_close_matches(name.lower(), pairs, n=3, cutoff=0.4)
    hint = f"Did you mean {' or '.join(near)}?" if near else "`specchat pairs` lists what there is."
    raise RegistryError(f"There is no pair named {name}.", hint)


def _read(path: Path) -> dict[str, PairSpec]:
    try:
        text = path.read_text(encoding="utf-8")
        table = tomllib.loads(text)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise RegistryError(f"{path} cannot be read: {error}.", "Mend the file or move it away.") from error
    entries = table.get("pairs")
    if not isinstance(entries, dict) or set(table) != {"pairs"}:
        raise RegistryError(f"{path}: everything must stand under [pairs.NAME].", "See the shipped models.toml for the shape.")
    return {name: _pair(path, text, name, entry) for name, entry in entries.items()}


def _pair(path: Path, text: str, name: str, entry: Any) -> PairSpec:
    if not isinstance(entry, dict):
        raise RegistryError(f"{path}: pairs.{name} must be a table.", "See the shipped models.toml for the shape.")
    try:
        return PairSpec(name=name, **entry)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"]) or "drafts"
        line = _line_of(text, name, str(first["loc"][0]) if first["loc"] else "drafts")
        raise RegistryError(f"{path}, line {line}: pairs.{name}.{field}: {first['msg']}.", "Mend that line.") from error


def _line_of(text: str, name: str, field: str) -> int:
    """The line of `field` in the table of pair `name`, or of the table's header when the field is not there."""
    header = re.compile(rf'^\s*\[+pairs\.("?){re.escape(name)}\1(?:\.{re.escape(field)})?\]+')
    found = 1
    inside = False
    for number, line in enumerate(text.splitlines(), 1):
        if header.match(line):
            inside = True
            found = number
            if f".{field}]" in line:
                return number
        elif inside and line.lstrip().startswith("["):
            inside = False
        elif inside and re.match(rf"\s*{re.escape(field)}\s*=", line):
            return number
    return found
