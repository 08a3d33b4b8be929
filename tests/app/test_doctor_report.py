"""The doctor's text, word for word, from made-up facts and measurements, in 80 columns."""

from __future__ import annotations

from dataclasses import replace

import pytest

from specchat.bench.measuring import Measurements
from specchat.bench.texts import Texts
from specchat.doctor import report
from specchat.doctor.examination import Examination, Gains
from specchat.doctor.plan import GREEDY, obstacle, short_plan
from specchat.pairs import DraftRow, NeedRow, PairRow
from specdec.benchmark.diagnosis import Finding
from specdec.benchmark.plan import Environment
from specdec.benchmark.summary import OVERALL, Figures, Key, Spread, TextDifference
from specdec.errors import EngineLostError
from specdec.events import BenchStarted
from specdec.machine_facts import Gpu, Int4Timing, MachineFacts
from specdec.memory import Memory
from specdec.registry import DraftSpec, PairSpec

GB = 10**9
CPU = MachineFacts(
    processor="AMD EPYC",
    cores=2,
    total_bytes=25 * GB,
    free_bytes=22 * GB,
    device="cpu",
    gpus=(),
    versions={"torch": "2.13.0+cpu", "triton": None, "bitsandbytes": "0.50.2"},
    cuda=None,
    int4=(
        Int4Timing(name="int4pack", relative_time=0.654),
        Int4Timing(name="nf4", relative_time=None, problem="not tried on a CPU, where it is slower than full precision"),
    ),
    int4_chosen="int4pack",
    copy_bytes_per_second=20.24e9,
)
CARD = Gpu(name="NVIDIA H100 80GB HBM3", driver="535.104.05", capability="9.0", total_bytes=85 * GB, free_bytes=84 * GB)
CUDA = CPU.model_copy(
    update={
        "device": "cuda",
        "gpus": (CARD,),
        "cuda": "12.8",
        "versions": {"torch": "2.13.0+cu128", "triton": "3.7.0"},
        "int4": (Int4Timing(name="int4pack", relative_time=0.5), Int4Timing(name="nf4", relative_time=0.41)),
        "int4_chosen": "nf4",
        "copy_bytes_per_second": 2.9e12,
    }
)
SPEC = PairSpec(
    name="mine",
    title="Mine",
    target="owner/large",
    drafts=(DraftSpec(name="small", kind="sibling", source="owner/small"), DraftSpec(name="int4", kind="int4")),
    context=1024,
    license="mit",
)
NEED = NeedRow(total_bytes=4 * GB, estimated=False, fit="fits", spare_bytes=18 * GB, largest_context=2048)
SHORT = NeedRow(total_bytes=24 * GB, estimated=True, fit="does not fit", spare_bytes=-2 * GB)
SMALL = DraftRow(
    name="small", kind="sibling", source="owner/small", on_disk=True, bytes_to_fetch=0, need=NEED, compatible="yes", usable=True
)
COPY = DraftRow(name="int4", kind="int4", source=None, on_disk=True, bytes_to_fetch=0, need=NEED, compatible="yes", usable=True)
PAIR = PairRow(
    name="mine",
    title="Mine",
    license="mit",
    note="",
    context=1024,
    target="owner/large",
    on_disk=True,
    bytes_to_fetch=0,
    need=NEED,
    drafts=(SMALL, COPY),
    usable=True,
)
STARTED = BenchStarted(
    environment=Environment(
        processor="AMD EPYC",
        device="cpu",
        cores=2,
        threads=1,
        dtype="float32",
        exact=True,
        exact_reason="fixed rows cost 3%",
        int4_backend="int4pack",
        versions={},
    ),
    loaded={},
    left_out={},
    answers=60,
)
PLAIN = Figures(
    answers=8,
    answer_tokens=512,
    tokens_per_second=Spread(100.04, 99, 101),
    speedup=Spread(1, 1, 1),
    predicted_speedup=None,
    first_token_ms=Spread(5, 4, 6),
    inter_token_ms=10,
    inter_token_p95_ms=11,
    inter_token_p99_ms=12,
    rounds=512,
    tokens_per_round=1,
    acceptance=None,
    acceptance_by_position=(),
    draft_ms=0,
    verify_ms=9,
    host_ms=1,
    memory_bytes=GB,
)
SIBLING = Figures(
    **vars(PLAIN)
    | {
        "tokens_per_second": Spread(1234.56, 1200, 1300),
        "speedup": Spread(1.456, 1.3, 1.6),
        "predicted_speedup": 1.523,
        "tokens_per_round": 2.255,
        "acceptance": 0.7449,
    }
)
FIGURES = {Key(GREEDY, "plain", OVERALL): PLAIN, Key(GREEDY, "small", OVERALL): SIBLING, Key(GREEDY, "small", "chat"): PLAIN}
SAME = Texts(changed=(), compared=56, foreign=(), foreign_compared=0, other_samples=())
CHANGED = replace(SAME, changed=(TextDifference(0.0, "small", "7", 3, "the dog", "the cat"),))
HEADER = "  METHOD             TOK/S  SPEEDUP    QUARTILES  PREDICTED  ACCEPTED  TOK/ROUND"
ROWS = """\
  plain              100.0        -            -          -         -       1.00
  small             1234.6    1.46x 1.30 to 1.60      1.52x       74%       2.25"""


def gains(**changes: object) -> Gains:
    """The made-up figures, of a benchmark that ended as `changes` say."""
    found = Measurements(**{"plan": short_plan(SPEC, PAIR), "started": STARTED} | changes)  # type: ignore[arg-type]
    return Gains(found, FIGURES, SAME)


def test_a_machine_without_a_gpu() -> None:
    assert (
        report.machine_section(CPU)
        == """\
Machine
  processor   AMD EPYC, 2 cores to use
  memory      22.0 GB free of 25.0 GB
  GPU         none found
  device      cpu; a large copy there reads and writes 20.2 GB a second
  torch       2.13.0+cpu, built without CUDA
  packages    triton missing, bitsandbytes 0.50.2
  INT4        int4pack: 0.65 of full precision's time; chosen, the only one that
              works
              nf4: not tried on a CPU, where it is slower than full precision"""
    )


def test_a_machine_with_a_gpu() -> None:
    assert (
        report.machine_section(CUDA)
        == """\
Machine
  processor   AMD EPYC, 2 cores to use
  memory      22.0 GB free of 25.0 GB
  GPU         NVIDIA H100 80GB HBM3, 84.0 GB free of 85.0 GB, driver 535.104.05,
              compute capability 9.0
  device      cuda; a large copy there reads and writes 2900.0 GB a second
  torch       2.13.0+cu128, CUDA 12.8
  packages    triton 3.7.0
  INT4        int4pack: 0.50 of full precision's time
              nf4: 0.41 of full precision's time; chosen, the fastest"""
    )


@pytest.mark.parametrize(("cuda", "reason"), [(None, "torch is built without CUDA"), ("12.8", "torch cannot reach it")])
def test_a_gpu_that_is_not_used_is_told_of_with_the_reason(cuda: str | None, reason: str) -> None:
    text = report.machine_section(CUDA.model_copy(update={"device": "cpu", "cuda": cuda}))
    assert f"not used: {reason}" in " ".join(text.split())


def test_without_an_int4_backend_the_reasons_stand_alone() -> None:
    text = report.machine_section(CPU.model_copy(update={"int4": CPU.int4[1:], "int4_chosen": None}))
    assert "INT4        nf4: not tried" in text
    assert "chosen" not in text


def test_what_a_pair_needs() -> None:
    assert (
        report.pair_section(PAIR, Memory("cpu", 22 * GB, 25 * GB))
        == """\
Pair mine
  Mine, context 1024; 22.0 GB free in memory.
  DRAFT                     NEEDS  FIT                   LEFT  LONGEST CONTEXT
  none                     4.0 GB  fits               18.0 GB             2048
  small                    4.0 GB  fits               18.0 GB             2048
  int4                     4.0 GB  fits               18.0 GB             2048"""
    )


def test_lighter_ways_are_listed_with_what_they_cost() -> None:
    lighter = COPY.model_copy(update={"name": "int4-shared-head", "kind": "int4-shared-head"})
    rounded = COPY.model_copy(update={"name": "none", "kind": "none"})
    pair = PAIR.model_copy(update={"drafts": (SMALL, COPY.model_copy(update={"need": SHORT}), lighter), "int8": rounded})
    text = report.pair_section(pair, Memory("cpu", 22 * GB, 25 * GB))
    assert [line.split()[0] for line in text.splitlines()[3:9]] == ["none", "small", "int4", "int4-shared-head", "int8", "int8,"]
    assert " ".join(text.split()).endswith("int8, with no model draft, has 8 bits a weight: other text than full precision.")


def test_what_a_pair_lacks() -> None:
    absent = SMALL.model_copy(update={"on_disk": False, "bytes_to_fetch": GB, "need": SHORT})
    other = COPY.model_copy(update={"compatible": "no", "reasons": ("The tokenizers differ.",)})
    assert (
        report.pair_section(PAIR.model_copy(update={"drafts": (absent, other)}), Memory("gpu", 22 * GB, 25 * GB))
        == """\
Pair mine
  Mine, context 1024; 22.0 GB free on the GPU. ~ marks an estimate.
  DRAFT                     NEEDS  FIT                   LEFT  LONGEST CONTEXT
  none                     4.0 GB  fits               18.0 GB             2048
  small                 ~ 24.0 GB  does not fit       -2.0 GB                -
  int4                     4.0 GB  fits               18.0 GB             2048
  small: not on disk; `specchat pull mine --draft small` fetches it.
  int4: The tokenizers differ."""
    )


def test_what_speculation_gains() -> None:
    assert (
        report.gain_section(gains())
        == f"""\
Speculation: 7 prompts, 64 tokens each, greedy, 3 repeats
  float32 on cpu, 1 thread, exact mode on: fixed rows cost 3%.
{HEADER}
{ROWS}
  No drafter changed a text: all 56 answers have the tokens of plain decoding."""
    )


def test_a_text_that_changed_is_shown() -> None:
    text = report.gain_section(replace(gains(), texts=CHANGED))
    assert 'small, prompt 7, temperature 0: token 3 differs: "the cat" instead of "the' in text


def test_methods_that_were_left_out_and_an_early_end_are_told_of() -> None:
    started = STARTED.model_copy(update={"left_out": {"int4": "No INT4 kernel works on this machine."}})
    text = report.gain_section(replace(gains(started=started, interrupted=True), texts=replace(SAME, compared=0)))
    assert text.splitlines()[-2:] == [
        "  int4 was left out: No INT4 kernel works on this machine.",
        "  Ended after 0 of 60 answers.",
    ]


def test_a_benchmark_that_never_began() -> None:
    found = gains(started=None, error=EngineLostError("The engine was ended by SIGKILL."))
    assert (
        report.gain_section(replace(found, figures={}, texts=replace(SAME, compared=0)))
        == """\
Speculation: 7 prompts, 64 tokens each, greedy, 3 repeats
  Ended after 0 answers, before the first repeat."""
    )


def test_no_line_is_wider_than_80_columns() -> None:
    long = "word " * 40
    spec = SPEC.model_copy(update={"drafts": (DraftSpec(name="a" * 40, kind="int4"),)})
    row = PAIR.model_copy(update={"title": long, "drafts": (COPY.model_copy(update={"name": "a" * 40, "reasons": (long,)}),)})
    figures = {Key(GREEDY, "a" * 40, OVERALL): SIBLING}
    finding = Finding(long, long, long, long)
    texts = [
        report.machine_section(CUDA.model_copy(update={"processor": long})),
        report.pair_section(row, Memory("cpu", GB, GB)),
        report.gain_section(
            Gains(Measurements(short_plan(spec, row), STARTED.model_copy(update={"left_out": {"b": long}})), figures, CHANGED)
        ),
        report.obstacle_section(long),
        report.finding_section([finding], well=False),
    ]
    assert max(len(line) for text in texts for line in text.splitlines()) <= 80


def test_findings_have_their_figure_and_next_step() -> None:
    findings = [
        Finding(
            "draft too slow", "a drafted token takes 0.62 of a plain step", "Drafting costs more than it saves.", "Try a smaller draft."
        ),
        Finding("memory short", "24.0 GB needed, 22.0 GB free", "The pair does not fit.", "Lower the context."),
    ]
    assert (
        report.finding_section(findings, well=False)
        == """\
Diagnosis
  1. draft too slow: a drafted token takes 0.62 of a plain step
     Drafting costs more than it saves.
     Next: Try a smaller draft.
  2. memory short: 24.0 GB needed, 22.0 GB free
     The pair does not fit.
     Next: Lower the context."""
    )


def test_all_is_well_is_one_line() -> None:
    assert report.finding_section([], well=True) == "Diagnosis\n  All is well: speculation gains here what it can."
    assert report.finding_section([], well=False) == ""


def test_all_is_well_only_where_speculation_was_measured_and_changed_nothing() -> None:
    finding = Finding("draft too slow", "", "", "")
    plain = {Key(GREEDY, "plain", OVERALL): PLAIN}
    assert Examination(CPU, PAIR, gains=gains()).well
    assert not Examination(CPU, PAIR).well
    assert not Examination(CPU, PAIR, gains=gains(), findings=[finding]).well
    assert not Examination(CPU, PAIR, gains=replace(gains(), figures=plain)).well
    assert not Examination(CPU, PAIR, gains=replace(gains(), texts=CHANGED)).well


def test_why_nothing_was_measured() -> None:
    assert report.obstacle_section("The pair is away.") == "Speculation: not measured\n  The pair is away."


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, ""),
        ({"on_disk": False, "bytes_to_fetch": GB}, "The pair is not on disk; `specchat pull mine` fetches 1.0 GB."),
        (
            {"on_disk": False, "need": SHORT},
            "The pair does not fit into memory, even without a draft: it is short by 2.0 GB.",
        ),
        ({"problem": "mamba is not supported."}, "mamba is not supported."),
    ],
)
def test_a_pair_is_measured_only_if_it_can_be_loaded(changes: dict[str, object], words: str) -> None:
    assert obstacle(PAIR.model_copy(update=changes)) == words


def test_the_short_plan_has_every_way_of_decoding_with_the_drafts_that_can_be_used() -> None:
    plan = short_plan(SPEC, PAIR)
    assert [(method.name, method.drafting.draft, method.draft) for method in plan.methods] == [
        ("plain", "off", None),
        ("ngram", "ngram", None),
        ("small", "model", "owner/small"),
        ("int4", "model", "int4"),
        ("auto", "auto", "owner/small"),
    ]
    assert (plan.load.target, plan.load.draft, plan.load.context) == ("owner/large", None, 1024)
    assert (plan.temperatures, plan.max_tokens, plan.repeats) == ((0.0,), 64, 3)
    categories = [prompt.category for prompt in plan.prompts]
    assert len(categories) == len(set(categories)) > 3


def test_drafts_that_cannot_be_used_are_not_measured() -> None:
    row = PAIR.model_copy(update={"drafts": (SMALL.model_copy(update={"usable": False}), COPY)})
    assert [(method.name, method.draft) for method in short_plan(SPEC, row).methods[2:]] == [("int4", "int4"), ("auto", "int4")]
    lighter = COPY.model_copy(update={"name": "int4-shared-head", "kind": "int4-shared-head"})
    row = PAIR.model_copy(update={"drafts": (COPY.model_copy(update={"usable": False}), lighter)})
    assert [method.draft for method in short_plan(SPEC, row).methods[2:]] == ["int4-shared-head", "int4-shared-head"]
    alone = PAIR.model_copy(update={"drafts": ()})
    assert [(method.name, method.draft) for method in short_plan(SPEC, alone).methods] == [("plain", None), ("ngram", None), ("auto", None)]
