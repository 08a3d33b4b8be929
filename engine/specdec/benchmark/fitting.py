"""Making a prompt fit into a model's context, so that one set of prompts serves models of every size."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from specdec.options import Message

GAP = " [...] "


def fitted(messages: Sequence[Message], room: int, count: Callable[[Sequence[Message]], int]) -> tuple[Message, ...]:
    """The conversation, its longest message cut in the middle as little as makes it at most `room` tokens by `count`.

    What opens a prompt and what closes it say most about what is asked. Where nothing of that message could stay, the conversation
    is returned as it is.
    """
    whole = tuple(messages)
    if count(whole) <= room:
        return whole
    longest = max(range(len(whole)), key=lambda index: len(whole[index].content))
    text = whole[longest].content

    def cut(kept: int) -> tuple[Message, ...]:
        head, tail = text[: (kept + 1) // 2], text[len(text) - kept // 2 :]
        shorter = whole[longest].model_copy(update={"content": f"{head}{GAP}{tail}"})
        return (*whole[:longest], shorter, *whole[longest + 1 :])

    fits, too_long = 0, len(text)
    while too_long - fits > 1:
        middle = (fits + too_long) // 2
        if count(cut(middle)) <= room:
            fits = middle
        else:
            too_long = middle
    return cut(fits) if fits else whole
