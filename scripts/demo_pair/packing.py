"""Documents packed into windows of equal length, in which each document sees itself only, as it will when it is generated."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Document:
    """One conversation: int32 [tokens], and bool [tokens] whether the assistant would write the token."""

    tokens: Tensor
    spoken: Tensor

    def __len__(self) -> int:
        return len(self.tokens)


@dataclass(frozen=True)
class Windows:
    """Tensors [windows, length + 1]: token ids, whether the assistant would write them, and the number of their document."""

    tokens: Tensor
    spoken: Tensor
    document: Tensor

    def __len__(self) -> int:
        return len(self.tokens)

    def take(self, rows: Tensor, device: torch.device) -> "Windows":
        """Some of the windows, on a device."""
        return Windows(self.tokens[rows].to(device, torch.int64), self.spoken[rows].to(device), self.document[rows].to(device))


def pack(documents: Sequence[Document], length: int) -> Windows:
    """The documents end to end, cut at equal lengths with one token of overlap; too short a text is repeated."""
    repeats = math.ceil((length + 1) / sum(map(len, documents)))
    documents = list(documents) * repeats
    numbers = torch.repeat_interleave(torch.arange(len(documents)), torch.tensor([len(document) for document in documents]))

    def windows(stream: Tensor) -> Tensor:
        return stream.unfold(0, length + 1, length)

    tokens, spoken = (torch.cat(parts) for parts in zip(*((item.tokens, item.spoken) for item in documents), strict=True))
    return Windows(windows(tokens), windows(spoken), windows(numbers))


def attention_mask(windows: Windows, dtype: torch.dtype) -> Tensor:
    """[windows, 1, length, length] what is added to attention scores: nothing within a document's past, a lot elsewhere."""
    document = windows.document[:, :-1]
    length = document.shape[1]
    seen = (document[:, :, None] == document[:, None, :]) & torch.ones(length, length, dtype=torch.bool, device=document.device).tril()
    return torch.zeros(seen.shape, dtype=dtype, device=document.device).masked_fill_(~seen, -1e9)[:, None]


def label_weights(windows: Windows, unspoken: float) -> Tensor:
    """[windows, length] float32 weight of each next token: 1 for the assistant's, `unspoken` for others, 0 across documents."""
    weights = torch.where(windows.spoken[:, 1:], 1.0, unspoken)
    return weights * (windows.document[:, 1:] == windows.document[:, :-1])
