"""From the options of `specchat bench` to its plan, and what is refused before anything is started."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from specchat.bench.outputs import outputs
from specchat.bench.planning import Wanted, build_plan
from specdec.benchmark.plan import BenchPlan, Method
from specdec.errors import RegistryError, SpecError, UsageError
from specdec.options import Drafting

PAIRS = """
[pairs.own]
title = "Own"
target = "own/target"
context = 512
dtype = "bfloat16"
license = "mit"
drafts = [{name = "four-bit", kind = "int4"}, {name = "small", kind = "sibling", source = "own/small"}]

[pairs.bare]
title = "Bare"
target = "own/target"
context = 512
license = "mit"

[pairs.confusing]
title = "Confusing"
target = "own/target"
context = 512
license = "mit"
drafts = [{name = "plain", kind = "int4"}]
"""
OWN = Wanted(pair="own")


@pytest.fixture
def registry(tmp_path: Path) -> Path:
    path = tmp_path / "models.toml"
    path.write_text(PAIRS)
    return path


def names(plan: BenchPlan) -> list[str]:
    return [method.name for method in plan.methods]


def test_a_pair_is_measured_plain_and_with_every_drafter(registry: Path) -> None:
    plan = build_plan(OWN, registry)
    assert plan.methods == (
        Method(name="plain", drafting=Drafting(draft="off")),
        Method(name="ngram", drafting=Drafting(draft="ngram")),
        Method(name="four-bit", drafting=Drafting(draft="model"), draft="int4"),
        Method(name="small", drafting=Drafting(draft="model"), draft="own/small"),
        Method(name="auto", drafting=Drafting(), draft="int4"),
        Method(name="auto, small", drafting=Drafting(), draft="own/small"),
    )
    assert plan.load.model_dump(exclude_defaults=True) == {"target": "own/target", "context": 512, "dtype": "bfloat16"}
    assert (plan.temperatures, plan.repeats, plan.max_tokens, plan.seed) == ((0.0,), 3, 128, 0)
    assert {prompt.category for prompt in plan.prompts} >= {"chat", "story", "maths", "code", "summary", "edit", "repetitive"}


def test_without_a_pair_it_is_the_demo_pair(registry: Path) -> None:
    assert build_plan(Wanted(), registry).load.target == "builtin:demo/target"


@pytest.mark.parametrize(
    ("wanted", "drafting"),
    [
        (Wanted(pair="bare"), ["plain", "ngram", "auto"]),
        (Wanted(pair="own", draft_model="none"), ["plain", "ngram", "auto"]),
        (Wanted(pair="own", draft_model="small"), ["plain", "ngram", "small", "auto"]),
        (Wanted(pair="own", draft_model="other/tiny"), ["plain", "ngram", "tiny", "auto"]),
        (Wanted(target="own/target"), ["plain", "ngram", "auto"]),
        (Wanted(target="own/target", draft_model="int4"), ["plain", "ngram", "int4", "auto"]),
        (Wanted(target="own/target", draft_model="int4-shared-head"), ["plain", "ngram", "int4-shared-head", "auto"]),
    ],
)
def test_the_draft_models_are_the_named_one_or_those_of_the_pair(registry: Path, wanted: Wanted, drafting: list[str]) -> None:
    assert names(build_plan(wanted, registry)) == drafting


def test_a_sweep_of_lengths_forces_every_drafter_to_each(registry: Path) -> None:
    plan = build_plan(replace(OWN, draft_model="small", sweeps=("draft-tokens=1,4",)), registry)
    assert names(plan) == ["plain", "ngram k=1", "ngram k=4", "small k=1", "small k=4", "auto"]
    assert plan.methods[4].drafting == Drafting(draft="model", draft_tokens=4)


def test_a_sweep_of_temperatures_is_measured_in_its_order(registry: Path) -> None:
    assert build_plan(replace(OWN, sweeps=("temperature=0.7,0",)), registry).temperatures == (0.7, 0)
    assert build_plan(replace(OWN, temperature=1.5), registry).temperatures == (1.5,)


def test_both_accept_rules_are_measured_with_every_draft_model(registry: Path) -> None:
    plan = build_plan(replace(OWN, accept="coupled,rejection", sweeps=("draft-tokens=2",)), registry)
    assert names(plan)[1:6] == ["ngram k=2", "four-bit k=2", "four-bit k=2, rejection", "small k=2", "small k=2, rejection"]
    assert [method.drafting.accept for method in plan.methods[2:4]] == ["coupled", "rejection"]
    alone = build_plan(replace(OWN, draft_model="small", accept="rejection"), registry)
    assert names(alone) == ["plain", "ngram, rejection", "small, rejection", "auto, rejection"]


def test_the_pair_is_measured_in_its_own_dtype_or_the_named_one(registry: Path) -> None:
    assert build_plan(OWN, registry).load.dtype == "bfloat16"
    assert build_plan(replace(OWN, dtype="int8"), registry).load.dtype == "int8"
    with pytest.raises(UsageError, match="--dtype"):
        build_plan(replace(OWN, dtype="int3"), registry)


def test_transformers_is_measured_plain_assisted_by_the_sibling_and_with_lookup(registry: Path) -> None:
    plan = build_plan(replace(OWN, against="transformers"), registry)
    assert [(method.name, method.drafting.draft, method.draft) for method in plan.methods if method.engine == "transformers"] == [
        ("transformers", "off", None),
        ("transformers, assisted", "model", "own/small"),
        ("transformers, prompt lookup", "ngram", None),
    ]


def test_prompts_are_those_of_the_file_by_category(registry: Path, tmp_path: Path) -> None:
    file = tmp_path / "prompts.jsonl"
    file.write_text("".join(f'{{"question_id": {n}, "category": "{"ab"[n % 2]}", "turns": ["Hi {n}"]}}\n' for n in range(6)))
    plan = build_plan(replace(OWN, prompts=str(file), categories=("b",), per_category=2), registry)
    assert [prompt.id for prompt in plan.prompts] == ["1", "3"]


@pytest.mark.parametrize(
    ("wanted", "sentence"),
    [
        (Wanted(pair="own", target="x"), "--pair and --target contradict each other"),
        (Wanted(pair="own", draft_model="none", accept="rejection", temperature=1, check=True), "--check has nothing to compare"),
        (replace(OWN, repeats=0), "--repeats: input should be greater than or equal to 1"),
        (replace(OWN, max_tokens=0), "--max-tokens: input should be greater than or equal to 1"),
        (replace(OWN, temperature=11), "--temperature: input should be less than or equal to 10"),
        (replace(OWN, seed=-1), "--seed: input should be greater than or equal to 0"),
        (replace(OWN, exact="maybe"), "--exact: input should be 'auto', 'on' or 'off'"),
        (replace(OWN, categories=("poetry",)), "There is no category 'poetry'"),
        (replace(OWN, per_category=0), "0 prompts of each category"),
        (replace(OWN, prompts="/no/such/file"), "Cannot read the prompts in /no/such/file"),
        (replace(OWN, prompts=""), "Cannot read the prompts"),
        (replace(OWN, accept="threshold:0.5"), "--accept: there is no 'threshold:0.5'"),
        (replace(OWN, accept=""), "--accept: there is no ''"),
        (replace(OWN, accept="coupled,coupled"), "--accept names coupled twice"),
        (replace(OWN, against="vllm"), "--against: there is no 'vllm'"),
        (replace(OWN, sweeps=("top-k=1",)), "There is no sweep 'top-k=1'"),
        (replace(OWN, sweeps=("temperature",)), "There is no sweep 'temperature'"),
        (replace(OWN, sweeps=("draft-tokens=",)), "'' is not among the whole numbers from 1 to 15"),
        (replace(OWN, sweeps=("draft-tokens=1,16",)), "'16' is not among the whole numbers from 1 to 15"),
        (replace(OWN, sweeps=("draft-tokens=0",)), "'0' is not among"),
        (replace(OWN, sweeps=("draft-tokens=2.5",)), "'2.5' is not among"),
        (replace(OWN, sweeps=("draft-tokens=2,4,2",)), "--sweep draft-tokens names 2 twice"),
        (replace(OWN, sweeps=("draft-tokens=1", "draft-tokens=2")), "--sweep draft-tokens is given twice"),
        (replace(OWN, sweeps=("temperature=0,nan",)), "'nan' is not among the numbers from 0 to 10"),
        (replace(OWN, sweeps=("temperature=-1",)), "'-1' is not among"),
        (replace(OWN, sweeps=("temperature=0",), temperature=0), "--temperature and --sweep temperature contradict each other"),
        (Wanted(pair="confusing"), "The draft's name 'plain' means another method here"),
    ],
)
def test_what_cannot_be_measured_is_refused_in_a_sentence(registry: Path, wanted: Wanted, sentence: str) -> None:
    with pytest.raises(UsageError) as error:
        build_plan(wanted, registry)
    assert sentence in error.value.cause
    assert error.value.next_step


def test_unknown_pairs_and_drafts_are_named(registry: Path) -> None:
    for wanted in (Wanted(pair="nothing-like-it"), replace(OWN, draft_model="7b")):
        with pytest.raises(RegistryError):
            build_plan(wanted, registry)


@pytest.mark.parametrize(
    ("text", "sentence"), [("", "There are no prompts in"), ('{"question_id": 1}\n', "Line 1 of"), ("\n[]", "Line 2 of")]
)
def test_a_prompt_file_that_is_empty_or_broken_is_refused(registry: Path, tmp_path: Path, text: str, sentence: str) -> None:
    file = tmp_path / "prompts.jsonl"
    file.write_text(text)
    with pytest.raises(UsageError, match=sentence):
        build_plan(replace(OWN, prompts=str(file)), registry)


def test_outputs_that_could_not_be_written_are_refused_before_measuring(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    for json, markdown, plots in (
        ("-", True, None),
        (str(tmp_path), False, None),
        ("/dev/null", False, None),
        (str(tmp_path / "missing" / "x.json"), False, None),
        (None, False, str(tmp_path / "file")),
    ):
        with pytest.raises(SpecError):
            outputs(json, markdown, plots)
    monkeypatch.setattr("specchat.bench.outputs.find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"matplotlib.*pip install 'specchat\[plots\]'"):
        outputs(None, False, str(tmp_path / "plots"))
    assert not (tmp_path / "plots").exists()
