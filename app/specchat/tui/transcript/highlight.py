"""Source code to stretches of one style each."""

from __future__ import annotations

from typing import Any

from pygments.lexers import get_lexer_by_name
from pygments.token import Token
from pygments.util import ClassNotFound

STYLES = {
    Token.Comment: "comment",
    Token.Keyword: "keyword",
    Token.Keyword.Constant: "number",
    Token.Literal.String: "string",
    Token.Literal.Number: "number",
    Token.Name.Builtin: "builtin",
    Token.Name.Function: "name",
    Token.Name.Class: "name",
    Token.Name.Decorator: "name",
    Token.Name.Tag: "keyword",
    Token.Name.Attribute: "name",
    Token.Operator: "operator",
    Token.Operator.Word: "keyword",
    Token.Generic.Deleted: "red",
    Token.Generic.Inserted: "green",
    Token.Generic.Heading: "heading",
}


def highlight(code: str, language: str) -> list[tuple[str, str]]:
    """The stretches of a code with their styles; all of it is plain ("") where the language is unknown."""
    try:
        lexer = get_lexer_by_name(language)
    except ClassNotFound:
        return [(code, "")]
    stretches = [(text, _style(kind)) for _, kind, text in lexer.get_tokens_unprocessed(code)]
    complete = "".join(text for text, _ in stretches) == code
    return stretches if complete else [(code, "")]


def _style(kind: Any) -> str:
    while kind not in STYLES and kind.parent is not None:
        kind = kind.parent
    return STYLES.get(kind, "")
