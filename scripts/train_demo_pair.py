"""Train the demo pair from scratch: a small target and a smaller sibling that drafts for it, in the time given.

On a busy CPU, OMP_WAIT_POLICY=passive in the environment keeps two jobs from spinning against each other.
"""

import argparse
import sys
from pathlib import Path

import torch
from transformers import PreTrainedTokenizerFast

from demo_pair import cards, export, losses, mixing, models, samples, training, vocabulary
from demo_pair.chats import CorpusError
from demo_pair.optimisers import Rates
from pair_quality import report

# How the time is divided; the rest goes to the sibling.
TARGET_SHARE = 0.70
SAMPLES_SHARE = 0.06
TARGET_RATES = Rates(layers=4e-3, embedding=4e-3)
SIBLING_RATES = Rates(layers=5e-3, embedding=5e-3)
# What is not the assistant's counts less: it is read, not written; the sibling never drafts it.
TARGET_UNSPOKEN = 0.3
SIBLING_UNSPOKEN = 0.1
SAMPLE_REPEATS = 3


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", type=Path, required=True, help="folder of the public corpus files")
    parser.add_argument("--out", type=Path, required=True, help="folder that receives target/ and sibling/")
    parser.add_argument("--minutes", type=float, default=45.0, help="training time of both models together")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps-dir", type=Path, default=Path("build/demo_pair"), help="folder of the checkpoints")
    parser.add_argument("--resume", action="store_true", help="go on from the checkpoints")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads")
    parser.add_argument("--compile", action="store_true", help="compile the training step: faster, needs a C++ compiler")
    arguments = parser.parse_args()
    if arguments.minutes <= 0:
        parser.error("--minutes must be more than 0")
    return arguments


def main() -> None:
    """Corpus, tokenizer, target, its samples, sibling, figures, model cards."""
    arguments = parse_arguments()
    torch.set_num_threads(arguments.threads)
    try:
        data = mixing.gather(arguments.corpus, arguments.seed)
    except CorpusError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    steps: Path = arguments.steps_dir
    seed, seconds = arguments.seed, arguments.minutes * 60
    tokenizer = shared_tokenizer(data, steps / "tokenizer.json", arguments.resume)
    documents = vocabulary.encode(tokenizer, data.conversations)
    print(f"{len(documents):,} conversations, {sum(map(len, documents)):,} tokens", file=sys.stderr)

    def prepared(loss: losses.Loss) -> losses.Loss:
        return torch.compile(loss) if arguments.compile else loss

    target = models.new_model(models.TARGET, tokenizer, seed)
    run = training.Run("target", seconds * TARGET_SHARE, TARGET_RATES, documents, TARGET_UNSPOKEN, seed, steps / "target.safetensors")
    target_progress = training.train(target, prepared(losses.next_token_loss), run, arguments.resume)

    said = samples.target_samples(
        target, tokenizer, data.conversations, seconds * SAMPLES_SHARE, seed, steps / "samples.safetensors", arguments.resume
    )
    print(f"{len(said):,} answers of the target, {sum(map(len, said)):,} tokens", file=sys.stderr)

    sibling = models.new_model(models.SIBLING, tokenizer, seed)
    sibling_share = 1 - TARGET_SHARE - SAMPLES_SHARE
    taught = [*documents, *said * SAMPLE_REPEATS]
    run = training.Run("sibling", seconds * sibling_share, SIBLING_RATES, taught, SIBLING_UNSPOKEN, seed, steps / "sibling.safetensors")
    sibling_progress = training.train(sibling, prepared(losses.distillation_loss(target)), run, arguments.resume)

    finished = {"target": (target, target_progress), "sibling": (sibling, sibling_progress)}
    with export.staged(arguments.out, list(finished)) as folders:
        for name, (model, _) in finished.items():
            export.write_model(folders[name], model, tokenizer)
        held_out = mixing.held_out(arguments.corpus)
        results = cards.measure(folders["target"], folders["sibling"], held_out, seed, arguments.threads)
        for name, (model, progress) in finished.items():
            cards.write_card(folders[name], name, cards.Training(model, progress, data.sources), results)
    print(report.losses_table(results), report.acceptance_table(results), report.endings_table(results), sep="\n\n")


def shared_tokenizer(data: mixing.Data, path: Path, resume: bool) -> PreTrainedTokenizerFast:
    """The tokenizer of both models: that of the run to go on with, or one trained on this text."""
    if resume and path.is_file():
        return vocabulary.load_tokenizer(path)
    tokenizer = vocabulary.train_tokenizer(message["content"] for conversation in data.conversations for message in conversation)
    path.parent.mkdir(parents=True, exist_ok=True)
    tokenizer.backend_tokenizer.save(str(path))
    return tokenizer


if __name__ == "__main__":
    main()
