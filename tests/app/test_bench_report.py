"""The tables of a benchmark word for word, its comparison of texts, its plots and its JSON, from made-up figures."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from tests.app.fake_engine import ENVIRONMENT, loaded, measured

from specchat.bench.document import document
from specchat.bench.measuring import Measurements
from specchat.bench.methods import methods
from specchat.bench.plots import tokens_per_round_over_time, write_plots
from specchat.bench.progress import lines
from specchat.bench.record import Record, as_json, record
from specchat.bench.rendering import markdown
from specchat.bench.sections import Listing, Table
from specchat.bench.texts import Texts, compare, listing
from specdec.benchmark.plan import BenchPlan, BenchPrompt
from specdec.benchmark.summary import Figures, Key, Spread, TextDifference, summarise
from specdec.errors import EngineLostError
from specdec.events import BenchStarted, Measured
from specdec.options import LoadOptions, Message

PROMPTS = tuple(BenchPrompt(id=name, category=name, messages=(Message(role="user", content="Hi"),)) for name in ("chat", "code"))
PLAN = BenchPlan(
    load=LoadOptions(target="own/target"),
    methods=methods({"small": "own/small"}, ("coupled", "rejection"), (), True),
    prompts=PROMPTS,
    temperatures=(0.0, 0.7),
    repeats=1,
    max_tokens=8,
)
STARTED = BenchStarted(
    environment=ENVIRONMENT,
    loaded={"": loaded("own/target", None), "own/small": loaded("own/target", "own/small")},
    left_out={"transformers, assisted": "The vocabularies differ."},
    answers=64,
)
PLAIN = Figures(
    answers=4,
    answer_tokens=512,
    tokens_per_second=Spread(80.04, 79, 81),
    speedup=Spread(1, 1, 1),
    predicted_speedup=None,
    first_token_ms=Spread(12.34, 12, 13),
    inter_token_ms=12.5,
    inter_token_p95_ms=14,
    inter_token_p99_ms=20.126,
    rounds=512,
    tokens_per_round=1,
    acceptance=None,
    acceptance_by_position=(),
    draft_ms=0,
    verify_ms=12,
    host_ms=0.5,
    memory_bytes=10**9,
)
SMALL = Figures(
    answers=4,
    answer_tokens=512,
    tokens_per_second=Spread(120, 119, 121),
    speedup=Spread(1.5, 1.4, 1.625),
    predicted_speedup=1.7777,
    first_token_ms=Spread(20, 19, 21),
    inter_token_ms=0,
    inter_token_p95_ms=25,
    inter_token_p99_ms=30,
    rounds=200,
    tokens_per_round=2.56,
    acceptance=0.7251,
    acceptance_by_position=(0.9, 0.5, 1 / 3),
    draft_ms=4,
    verify_ms=15,
    host_ms=1,
    memory_bytes=10**9,
)
LOOKUP = Figures(**vars(PLAIN) | {"speedup": Spread(0.9, 0.9, 0.9), "draft_ms": 0, "verify_ms": 0, "host_ms": 14, "tokens_per_round": 1.25})
FIGURES = {
    Key(0.0, "plain", "chat"): PLAIN,
    Key(0.0, "small", "chat"): SMALL,
    Key(0.0, "plain", "overall"): PLAIN,
    Key(0.0, "small", "overall"): SMALL,
    Key(0.0, "transformers, prompt lookup", "overall"): LOOKUP,
}
NO_TEXTS = Texts((), 0, (), 0, ())
REPORT = """\
## Speed at temperature 0

| method | tok/s | speedup | quartiles | predicted | first token ms | between tokens ms | p95 | p99 |
| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |
| plain | 80.0 | - | - | - | 12.3 | 12.50 | 14.00 | 20.13 |
| small | 120.0 | 1.50x | 1.40 to 1.62 | 1.78x | 20.0 | 0.00 | 25.00 | 30.00 |
| transformers, prompt lookup | 80.0 | 0.90x | 0.90 to 0.90 | - | 12.3 | 12.50 | 14.00 | 20.13 |

## Rounds at temperature 0

| method | rounds | tokens/round | accepted/tested | round ms | draft ms | verify ms | host ms |
| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |
| plain | 512 | 1.00 | - | 12.50 | 0.00 (0%) | 12.00 (96%) | 0.50 (4%) |
| small | 200 | 2.56 | 73% | 20.00 | 4.00 (20%) | 15.00 (75%) | 1.00 (5%) |
| transformers, prompt lookup | 512 | 1.25 | - | 14.00 | - | - | - |

## Speedup by category at temperature 0

| method | chat | overall |
| --- | ---: | ---: |
| small | 1.50x | 1.50x |
| transformers, prompt lookup | - | 0.90x |

## Acceptance by position at temperature 0

| method | 1 | 2 | 3 |
| --- | ---: | ---: | ---: |
| small | 90% | 50% | 33% |

## Predicted and realised more than 10% apart

- small at temperature 0: The book expects 10% more tokens a round than there were.

## Left out

- transformers, assisted: The vocabularies differ.

## Environment

- processor: A processor, 2 cores; threads used: 1
- device: cpu, float32
- exact: on: fixed rows cost 3%
- memory needed, worked out: the target alone 1.0 MB, own/small 2.0 MB
- versions: torch 2.0

## Settings

- target: own/target
- draft models: own/small
- prompts: 2; categories: chat, code
- repeats: 1 and a warm-up; at most 8 tokens an answer; seed 0
- answers: 0 of 64 (ended early)"""


def answers(*changed: tuple[str, float]) -> list[Measured]:
    """The warm-up and a repeat of every method, with other texts in the repeat of the methods and temperatures named."""
    made = []
    for repeat in range(2):
        for temperature in PLAN.temperatures:
            for method in PLAN.methods:
                answer = measured(method, temperature, PROMPTS[0], repeat)
                if repeat == 1 and (method.name, temperature) in changed:
                    answer = answer.model_copy(update={"tokens": (*answer.tokens[:3], 99), "text": "w0 w1 w2 x<b>|"})
                made.append(answer)
    return made


def test_the_report_as_markdown() -> None:
    assert markdown(document(Measurements(PLAN), STARTED, FIGURES, NO_TEXTS)) == REPORT


def test_a_report_without_figures_holds_no_table() -> None:
    sections = document(Measurements(PLAN, measured=answers()), STARTED, {}, NO_TEXTS)
    assert [section.title for section in sections] == ["Left out", "Environment", "Settings"]
    assert "- memory: 3.0 MB at most, with everything loaded\n" in markdown(sections)


def test_markdown_keeps_foreign_text_in_its_cell() -> None:
    table = Table("A|B", ("x", "y"), (("<b>a|b\n", "\x1b[1m"),))
    assert markdown([table]) == "## A&#124;B\n\n| x | y |\n| --- | ---: |\n| &lt;b&gt;a&#124;b | \u241b[1m |"
    assert markdown([Listing("T", ("<i>\nx",))]) == "## T\n\n- &lt;i&gt; x"


def test_texts_that_are_all_plain_decodings() -> None:
    texts = compare(PLAN, answers())
    assert (texts.changed, texts.compared, texts.foreign, texts.foreign_compared) == ((), 14, (), 6)
    assert listing(texts).items == (
        "No drafter changed a text: all 14 answers have the tokens of plain decoding.",
        "transformers: all 6 greedy answers have the tokens of plain decoding.",
        "Above temperature 0 these draw other random numbers and are not compared: "
        "small, rejection; transformers; transformers, assisted; transformers, prompt lookup.",
    )


@pytest.mark.parametrize(
    ("method", "temperature", "counts"),
    [
        ("small", 0.0, True),
        ("auto", 0.7, True),
        ("plain", 0.7, True),
        ("small, rejection", 0.0, True),
        ("small, rejection", 0.7, False),
        ("transformers, assisted", 0.0, False),
        ("transformers, assisted", 0.7, False),
    ],
)
def test_a_changed_text_counts_where_the_engine_promised_the_same(method: str, temperature: float, counts: bool) -> None:
    texts = compare(PLAN, answers((method, temperature)))
    expected = TextDifference(temperature, method, "chat", 4, texts.changed[0].plain, "w0 w1 w2 x<b>|") if counts else None
    assert texts.changed == ((expected,) if counts else ())
    assert len(texts.foreign) == (method.startswith("transformers") and temperature == 0)


def test_a_difference_is_told_with_both_texts() -> None:
    items = listing(compare(PLAN, answers(("small", 0.0), ("transformers", 0.0)))).items
    other = '"w0 w1 w2 x<b>|" instead of "w0 w1 w2 w3 w4 w5 w6 w7 ".'
    assert items[0] == f"small, prompt chat, temperature 0: token 4 differs: {other}"
    assert items[1] == (
        "transformers: 1 of 6 greedy answers differ from plain decoding's. "
        f"transformers, prompt chat, temperature 0: token 4 differs: {other}"
    )


def test_of_many_differences_the_first_ten_are_told() -> None:
    difference = TextDifference(0, "small", "chat", 1, "a", "b")
    items = listing(Texts((difference,) * 12, 20, (), 0, ())).items
    assert (len(items), items[-1]) == (11, "2 more answers differ.")


def test_the_json_holds_everything_and_reads_back() -> None:
    made = answers(("small", 0.0))
    found = Measurements(PLAN, STARTED, made, interrupted=True, error=EngineLostError("It ended.", "Try again."))
    kept = record(found, STARTED, summarise(made), compare(PLAN, made), "1.2", "2030-01-02T03:04:05Z")
    text = as_json(kept)
    assert Record.model_validate_json(text) == kept
    values = json.loads(text)
    assert values["settings"]["seed"] == 0
    assert [set(prompt) for prompt in values["prompts"]] == [{"id", "category", "sha256"}] * 2
    assert values["environment"]["processor"] == "A processor"
    assert values["versions"]["engine"] == "1.2"
    assert values["error"] == {"kind": "engine-lost", "cause": "It ended.", "next_step": "Try again."}
    assert len(values["measured"]) == len(made)
    assert "id" not in values["measured"][0]
    assert values["figures"][0]["figures"]["tokens_per_second"]["median"] == 100
    assert values["changed"][0]["method"] == "small"


def test_tokens_per_round_over_time_are_means_of_equal_steps() -> None:
    answer = measured(PLAN.methods[1], 0, PROMPTS[0], 1)
    first = answer.model_copy(update={"round_tokens": (1, 3, 5), "round_ms": (100.0, 100.0, 800.0)})
    second = answer.model_copy(update={"round_tokens": (2, 4), "round_ms": (150.0, 100.0)})
    seconds, means = tokens_per_round_over_time([first, second], steps=5)
    assert seconds == pytest.approx([0.1, 0.3, 0.9])
    assert means == [1.5, 3.5, 5]
    assert tokens_per_round_over_time([]) == ([], [])


def test_plots_are_drawn_in_both_formats(tmp_path: Path) -> None:
    made = answers()
    folder = tmp_path / "plots"
    folder.mkdir()
    drawn = write_plots(folder, PLAN, summarise(made), made)
    names = ("speedup-by-category", "acceptance-by-position", "tokens-per-round")
    assert {path.name for path in folder.iterdir()} == {f"{name}.{ending}" for name in names for ending in ("svg", "png")}
    assert set(folder.iterdir()) == set(drawn)
    assert all(path.stat().st_size > 1000 for path in drawn)
    assert "<svg" in (folder / "tokens-per-round.svg").read_text()
    assert (folder / "tokens-per-round.png").read_bytes().startswith(b"\x89PNG")


def test_without_a_terminal_progress_is_a_line_a_minute(capsys: pytest.CaptureFixture[str]) -> None:
    moments: Sequence[float] = [0, 0, 0, 30, 61, 70, 122]
    clock = iter(moments)
    watch = lines(lambda: next(clock))
    watch(STARTED.model_copy(update={"answers": 10}))
    for answer in answers()[:4]:
        watch(answer)
    assert capsys.readouterr().err == "specchat: 2 of 10 answers, 4 min left.\nspecchat: 4 of 10 answers, 3 min left.\n"
