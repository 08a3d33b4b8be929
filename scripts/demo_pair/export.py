"""Ordinary Hugging Face directories, each put in its place in one step."""

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from transformers import GenerationConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from demo_pair.vocabulary import END, END_OF_TEXT, save_tokenizer, token_ids


@contextmanager
def staged(parent: Path, names: list[str]) -> Iterator[dict[str, Path]]:
    """New folders to fill, which take their places in the parent together at the end, so that nobody sees half of a model."""
    parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=".partial-", dir=parent) as scratch:
        folders = {name: Path(scratch) / name for name in names}
        yield folders
        for name, folder in folders.items():
            place = parent / name
            if place.exists():
                place.rename(Path(scratch) / f"{name}.old")
            folder.rename(place)


def write_model(folder: Path, model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast) -> None:
    """Write weights in float16, configuration and tokenizer; the model given keeps its own precision."""
    end, end_of_text = token_ids(tokenizer, END, END_OF_TEXT)
    model = copy.deepcopy(model).cpu().half()
    model.generation_config = GenerationConfig(
        do_sample=True, temperature=0.7, top_p=0.95, eos_token_id=[end, end_of_text], pad_token_id=end_of_text
    )
    model.save_pretrained(folder)
    (folder / "model.safetensors").chmod(0o644)
    save_tokenizer(tokenizer, folder)
