"""Measure what the models of a pair are worth, with the engine itself: loss on held-out text, acceptance of drafts, and the answers.

    python scripts/evaluate_pair.py PAIR [--corpus DIR] [--prompts FILE]... [--json FILE]
    python scripts/evaluate_pair.py --target SOURCE [--draft SOURCE]...

PAIR is a name of models.toml; a SOURCE is what the engine can load, and --draft int4 the target's own copy. The text of an answer
must not depend on its drafter. Prints Markdown on stdout. Exit code 0, 1 if texts differed between drafters, 2 for bad input.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from demo_pair import mixing
from demo_pair.chats import CorpusError
from pair_quality import prompts, records, report
from pair_quality.evaluation import Plan, Results, evaluate
from pair_quality.models import Models, from_registry, from_sources
from specdec.errors import SpecError
from specdec.options import MAX_DRAFT_TOKENS


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pair", metavar="PAIR", nargs="?", help="a pair of models.toml")
    parser.add_argument("--target", metavar="SOURCE", help="a target in place of a pair")
    parser.add_argument("--draft", metavar="SOURCE", action="append", default=[], help="a draft for --target; may be repeated")
    parser.add_argument("--corpus", metavar="DIR", type=Path, help="folder of the corpus files, whose held-out chats are used")
    parser.add_argument("--prompts", metavar="FILE", type=Path, action="append", default=[], help="more prompts, as in Spec-Bench")
    parser.add_argument("--json", metavar="FILE", type=Path, help="write everything, answers included, to this file")
    parser.add_argument("--per-category", metavar="N", type=positive, default=12, help="prompts in each category (default: 12)")
    parser.add_argument(
        "--all-questions",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="compare the answers to all questions and exercises with the right ones, not to N of each (default: yes)",
    )
    parser.add_argument("--draft-tokens", metavar="K", type=draft_length, default=4, help="tokens in each draft (default: 4)")
    parser.add_argument("--max-tokens", metavar="N", type=positive, default=300, help="longest answer (default: 300)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", metavar="N", type=positive, help="default: as the engine chooses")
    arguments = parser.parse_args()
    if (arguments.pair is None) == (arguments.target is None):
        parser.error("give either a PAIR or --target")
    if arguments.draft and arguments.target is None:
        parser.error("--draft goes with --target; a PAIR has its own drafts")
    if arguments.json and not arguments.json.absolute().parent.is_dir():
        parser.error(f"--json: there is no folder {arguments.json.absolute().parent}")
    return arguments


def positive(text: str) -> int:
    """A number of at least 1."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return value


def draft_length(text: str) -> int:
    """A number of tokens that the engine can draft."""
    value = positive(text)
    if value > MAX_DRAFT_TOKENS:
        raise argparse.ArgumentTypeError(f"must be at most {MAX_DRAFT_TOKENS}")
    return value


def main() -> int:
    """Measure, print, and give the exit code."""
    options = parse_arguments()
    plan = Plan(options.per_category, options.all_questions, options.draft_tokens, options.max_tokens, options.seed, options.threads)
    try:
        models = from_registry(options.pair) if options.pair else from_sources(options.target, options.draft)
        corpus = mixing.held_out(options.corpus) if options.corpus else {}
        results = evaluate(models, corpus, prompts.held_out_prompts(corpus, options.prompts, plan.seed), plan)
    except (SpecError, CorpusError, prompts.PromptFileError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(heading(models, results, plan, corpus=options.corpus is not None))
    print(report.report(results))
    if options.json:
        records.write(options.json, records.record(results, models, plan, options.corpus, options.prompts))
    if results.differences:
        print(f"error: {results.differences[0]} ({len(results.differences)} in all)", file=sys.stderr)
        return 1
    return 0


def heading(models: Models, results: Results, plan: Plan, corpus: bool) -> str:
    """What was measured, and on what."""
    ready = results.ready
    lines = [
        f"# Quality of {models.name}",
        f"{ready.device}, {ready.threads} threads, {ready.dtype}; drafts of {plan.draft_tokens}, answers of at most {plan.max_tokens} "
        f"tokens, seed {plan.seed}; " + ", ".join(f"{name} {version}" for name, version in records.versions().items()) + ".",
    ]
    if not corpus:
        lines.append("No corpus was given, so there are no held-out chats, only the project's own questions and exercises.")
    for name, draft in results.drafts.items():
        how = f"weights in {draft.draft_backend or draft.dtype}." if draft.draft_kind else f"left out. {draft.draft_problem}"
        lines.append(f"Draft {name}: {how}")
    return "\n\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
