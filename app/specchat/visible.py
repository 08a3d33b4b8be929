"""Model text made safe for a terminal: control characters are shown, not obeyed."""

from __future__ import annotations

KEPT = "\n\t"
C0 = {code: chr(0x2400 + code) for code in range(0x20) if chr(code) not in KEPT}
DELETE = {0x7F: "\u2421"}
C1 = {code: f"\\u{code:04x}" for code in range(0x80, 0xA0)}
DIRECTION = {code: f"\\u{code:04x}" for code in (0x61C, 0x200E, 0x200F, *range(0x202A, 0x202F), *range(0x2066, 0x206A))}
SURROGATES = {code: f"\\u{code:04x}" for code in range(0xD800, 0xE000)}
SHOWN = C0 | DELETE | C1 | DIRECTION | SURROGATES


def visible(text: str) -> str:
    """The text with C0 controls as Unicode control pictures, C1 controls, direction marks and lone surrogates as escapes.

    Newline and tab stay.
    """
    return text.translate(SHOWN)
