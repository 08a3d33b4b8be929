"""Train the demo pair from scratch: a small target and a smaller sibling that drafts for it, in the time given.

On a busy CPU, OMP_WAIT_POLICY=passive in the environment keeps two jobs from spinning against each other.
"""

import argparse
import sys
from pathlib import Path

import torch
from transformers import PreTrainedTokenizerFast

from demo_pair import corpus, evaluation, export, mixing, training, vocabulary

TARGET_SHARE = 0.75
TARGET_RATES = training.Rates(layers=4e-3, embedding=4e-3)
SIBLING_RATES = training.Rates(layers=5e-3, embedding=5e-3)


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpus", type=Path, required=True, help="folder of the corpus files")
    parser.add_argument("--out", type=Path, required=True, help="folder that receives target/ and sibling/")
    parser.add_argument("--minutes", type=float, default=45.0, help="training time of both models together")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps-dir", type=Path, default=Path("build/demo_pair"), help="folder of the checkpoints")
    parser.add_argument("--resume", action="store_true", help="go on from the checkpoints")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads")
    arguments = parser.parse_args()
    if arguments.minutes <= 0:
        parser.error("--minutes must be more than 0")
    return arguments


def main() -> None:
    """Corpus, tokenizer, target, sibling, figures, model cards."""
    arguments = parse_arguments()
    torch.set_num_threads(arguments.threads)
    try:
        data = mixing.gather(arguments.corpus, arguments.seed)
    except corpus.CorpusError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    tokenizer = shared_tokenizer(data, arguments.steps_dir / "tokenizer.json", arguments.resume)
    documents, held_out = vocabulary.encode(tokenizer, data.training), vocabulary.encode(tokenizer, data.held_out)
    print(f"{sum(map(len, documents)):,} tokens to train on, {sum(map(len, held_out)):,} held out", file=sys.stderr)

    def run(name: str, share: float, peaks: training.Rates) -> training.Run:
        seconds = arguments.minutes * 60 * share
        return training.Run(name, seconds, peaks, documents, arguments.seed, arguments.steps_dir / f"{name}.safetensors")

    target = training.new_model(training.TARGET, tokenizer, arguments.seed)
    target_progress = training.train(target, training.next_token_loss, run("target", TARGET_SHARE, TARGET_RATES), arguments.resume)
    sibling = training.new_model(training.SIBLING, tokenizer, arguments.seed)
    distil = training.distillation_loss(target)
    sibling_progress = training.train(sibling, distil, run("sibling", 1 - TARGET_SHARE, SIBLING_RATES), arguments.resume)

    finished = {"target": (target, target_progress), "sibling": (sibling, sibling_progress)}
    with export.staged(arguments.out, list(finished)) as folders:
        for name, (model, _) in finished.items():
            export.write_model(folders[name], model, tokenizer)
        loaded = {name: export.load(folder) for name, folder in folders.items()}
        figures = evaluation.measure(loaded["target"], loaded["sibling"], held_out, tokenizer)
        for name, (_, progress) in finished.items():
            samples = evaluation.sample_answers(loaded[name], tokenizer, arguments.seed)
            export.write_card(folders[name], export.Card(name, loaded[name], progress, figures, data.sources, samples))
            report(name, samples)
    print(figures)


def shared_tokenizer(data: mixing.Data, path: Path, resume: bool) -> PreTrainedTokenizerFast:
    """The tokenizer of both models: that of the run to go on with, or one trained on this text."""
    if resume and path.is_file():
        return vocabulary.load_tokenizer(path)
    tokenizer = vocabulary.train_tokenizer(message["content"] for conversation in data.training for message in conversation)
    path.parent.mkdir(parents=True, exist_ok=True)
    tokenizer.backend_tokenizer.save(str(path))
    return tokenizer


def report(name: str, samples: list[tuple[str, str]]) -> None:
    """Print the answers of one model."""
    for prompt, answer in samples:
        print(f"[{name}] {prompt}\n{answer}\n")


if __name__ == "__main__":
    main()
