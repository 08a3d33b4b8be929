"""The engine as it runs on a GPU: recorded passes, one wait a round, the next round begun before the last is read, and the same text."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from tests.engine.answers import Answer, ask, gather, request, same_as_fresh
from tests.engine.models import save_model, save_pair
from tests.pretend_gpu import graphs
from tests.pretend_gpu.cuda import NAME, pretend_gpu
from tests.pretend_gpu.tensors import GPU, Device, GpuTensor

from specdec import exactness
from specdec.benchmark.plan import BenchPlan, BenchPrompt, Method
from specdec.benchmark.runner import run
from specdec.drafting.controller import Costs
from specdec.events import BenchDone, BenchStarted, Measured
from specdec.exactness import Exactness
from specdec.loading import Pair, load_pair, unheard, with_draft
from specdec.machine import inspect_machine
from specdec.machine_facts import Int4Timing
from specdec.model.int4 import Backend
from specdec.options import Drafting, LoadOptions, Message, Sampling
from specdec.passes import CudaRecorder
from specdec.session import ChatSession
from specdec.target import Execution, Products

pytestmark = pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")

PROMPT = "the cat and the dog and the cat and the dog and the"
DRAFTS = ("ngram", "model", "auto")
WAYS = {
    "greedy": Sampling(temperature=0),
    "warped": Sampling(temperature=0.9, top_k=50, top_p=0.9, seed=3),
    "penalised": Sampling(temperature=1.2, min_p=0.02, repetition_penalty=1.3, seed=4),
}
Load = Callable[..., Pair]


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[Device]:
    """A GPU without Triton, whose measurements are cut short: times mean nothing there."""
    monkeypatch.setattr("specdec.model.operations.find_spec", lambda name: None if name == "triton" else find_spec(name))
    monkeypatch.setattr(exactness, "SLOW_STEP_MS", float("inf"))
    monkeypatch.setattr(exactness, "REPEATS", range(1, 2))
    monkeypatch.setattr(exactness, "ATTENTION_DRAWS", 1)
    monkeypatch.setattr(exactness, "PROBED_TILES", 1)
    monkeypatch.setattr(exactness, "KERNELS", exactness.KERNELS[:1])
    monkeypatch.setattr("specdec.calibration.BUDGET_MS", 0.0)
    monkeypatch.setattr("specdec.draft_plan.choose_backend", lambda device, dtype: Backend("triton", 1.0))
    with pretend_gpu() as device:
        yield device


@pytest.fixture
def products() -> Products:
    """What exact mode would choose where there is Triton."""
    return "library"


@pytest.fixture
def triton(products: Products, gpu: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    """The GPU has Triton too, in whose interpreter nothing can be measured."""
    costs = Costs({1: 1.0, 16: 1.1}, {"sibling": {1: 0.1}, "int4": {1: 0.3}, "ngram": {1: 0.0}})
    chosen = Exactness(Execution("split", products=products), True, True, "given")
    monkeypatch.setattr("specdec.model.operations.find_spec", find_spec)
    monkeypatch.setattr("specdec.loading.choose_execution", lambda target, choice: chosen)
    monkeypatch.setattr("specdec.loading.calibrate", lambda target, drafters: costs)


@pytest.fixture
def load(gpu: Device, tmp_path: Path) -> Load:
    def loaded(family: str = "llama", draft: str | None = "sibling", layers: int = 3, **options: object) -> Pair:
        target, sibling = save_pair(tmp_path / family, family)
        save_model(target, family, num_hidden_layers=layers)
        usual: dict[str, object] = {"context": 600, "dtype": "float32", "exact": "on"}
        source = str(sibling) if draft == "sibling" else draft
        return load_pair(LoadOptions(target=str(target), draft=source, **{**usual, **options}))  # type: ignore[arg-type]

    return loaded


def all_is_recorded(pair: Pair) -> bool:
    record = pair.target.passes.record
    return isinstance(record, CudaRecorder) and record.problem is None and not pair.ready.warnings


def plain_and_drafted(pair: Pair, sampling: Sampling, drafts: Sequence[str] = DRAFTS, **options: object) -> dict[str, Answer]:
    """Answers of fresh sessions, after seeing that their texts are one."""
    options = {"max_tokens": 40, **options}
    asked = {draft: request(PROMPT, draft=draft, sampling=sampling, **options) for draft in ("off", *drafts)}
    answers = {draft: ask(ChatSession(pair), chat) for draft, chat in asked.items()}
    assert len({tuple(answer.tokens) for answer in answers.values()}) == 1
    return answers


def test_a_pair_lies_on_the_gpu_and_all_its_steps_are_recorded(load: Load) -> None:
    pair = load()
    assert pair.ready.device == NAME
    assert pair.exactness.exact
    assert all_is_recorded(pair)
    assert pair.drafter is not None
    caches = [pair.target.cache.rows, pair.drafter._cache.rows]
    weights = [decoder.weights.embedding for decoder in (pair.target.decoder, pair.drafter.decoder)]
    assert all(isinstance(tensor, GpuTensor) and tensor.device == GPU for tensor in [*caches, *weights])


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("family", ["llama", "qwen3", "mistral-window"])
def test_whoever_drafts_the_text_is_plain_decodings(family: str, way: str, load: Load) -> None:
    pair = load(family)
    answers = plain_and_drafted(pair, WAYS[way])
    assert all_is_recorded(pair)
    assert answers["model"].done.statistics.drafters["sibling"].drafted


def test_the_host_waits_for_one_verdict_a_round(load: Load, gpu: Device) -> None:
    pair = load()
    for draft in ("off", "ngram", "model"):
        chat = request(PROMPT, draft=draft, max_tokens=60)
        ask(ChatSession(pair), chat)
        gpu.waits.clear()
        answer = ask(ChatSession(pair), chat)
        rounds = len(answer.rounds)
        noise = 2 + len(answer.tokens) // 8
        uploads = gpu.waits.pop("tensor", 0) + gpu.waits.pop("as_tensor", 0)
        assert gpu.waits == {"tolist": rounds, "event": 2 * rounds}, "the events are those of work that the verdict has waited for"
        assert uploads <= rounds + noise + 2


def test_a_second_answer_of_the_same_lengths_records_nothing_anew(load: Load, gpu: Device) -> None:
    pair = load()
    chat = request(PROMPT, draft="model", draft_tokens=3, max_tokens=40)
    first = ask(ChatSession(pair), chat)
    gpu.waits.clear()
    assert ask(ChatSession(pair), chat).tokens == first.tokens
    assert not gpu.waits["capture"]


@pytest.mark.parametrize("accept", ["rejection", "threshold:0.3"])
def test_the_other_rules_run_too(accept: str, load: Load) -> None:
    pair = load()
    chat = request(PROMPT, draft="model", accept=accept, max_tokens=40, sampling=WAYS["warped"])
    first, second = (ask(ChatSession(pair), chat) for _ in range(2))
    assert first.tokens == second.tokens
    assert first.done.statistics.drafters["sibling"].accepted
    assert all_is_recorded(pair)


@pytest.mark.parametrize(
    ("draft", "dtype", "products"),
    [
        ("sibling", "float32", "library"),
        ("sibling", "float32", "skinny"),
        ("int4-shared-head", "float32", "library"),
        (None, "int8", "library"),
    ],
)
@pytest.mark.usefixtures("triton")
def test_with_kernels_the_text_is_plain_decodings(draft: str | None, dtype: str, load: Load) -> None:
    pair = load("llama", draft, layers=1, dtype=dtype, context=128)
    assert pair.target.decoder.operations.name == "triton"
    kind = "model" if draft else "ngram"
    answers = plain_and_drafted(pair, WAYS["warped"], [kind], max_tokens=8, draft_tokens=2)
    record = pair.target.passes.record
    assert isinstance(record, CudaRecorder)
    assert record.problem is None
    assert bool(answers[kind].done.statistics.drafters) == bool(draft)


def test_conversations_go_on_as_fresh_ones_would(load: Load) -> None:
    pair = load()
    session = ChatSession(pair)
    first = ask(session, request(PROMPT))
    second = same_as_fresh(session, request(PROMPT, first.text, "why?"))
    assert second.started.prompt_tokens > 60
    edited = same_as_fresh(session, request("the lazy dog"))
    assert edited.text


def test_another_draft_can_be_measured_beside_the_first(load: Load) -> None:
    pair = load(draft=None)
    twin = with_draft(pair, str(Path(pair.ready.target).parent / "sibling"))
    assert twin.target is pair.target
    assert twin.drafter is not None
    plain_and_drafted(twin, WAYS["warped"], ("model",))
    assert all_is_recorded(twin)


def test_where_passes_cannot_be_recorded_they_run_as_they_are_and_the_user_is_told(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = ask(ChatSession(load()), request(PROMPT)).tokens

    def refuse(self: object) -> None:
        raise RuntimeError("no capture today\nand more")

    monkeypatch.setattr(graphs.graph, "__enter__", refuse)
    pair = load()
    assert pair.ready.warnings == ("Running without CUDA graphs, which is slower: no capture today",)
    assert ask(ChatSession(pair), request(PROMPT)).tokens == expected


def test_a_stopped_answer_loses_nothing_of_the_round_that_was_under_way(load: Load) -> None:
    pair = load()
    session = ChatSession(pair)
    whole = ask(ChatSession(pair), request(PROMPT, max_tokens=40))
    count = iter(range(1000))
    stopped = gather(session.chat(request(PROMPT, max_tokens=40), lambda: next(count) > 6))
    assert stopped.finish == "stopped"
    assert stopped.tokens == whole.tokens[: len(stopped.tokens)]
    again = same_as_fresh(session, request(PROMPT, max_tokens=40))
    assert again.tokens == whole.tokens


def test_the_context_can_be_filled_to_its_end(load: Load) -> None:
    pair = load(context=128)
    endless = Sampling(temperature=5, seed=1)
    answers = [ask(ChatSession(pair), request(PROMPT, draft=draft, sampling=endless, max_tokens=None)) for draft in ("off", "model")]
    assert {answer.finish for answer in answers} == {"context"}
    assert answers[0].tokens == answers[1].tokens


def test_a_benchmark_takes_turns_beside_one_target(gpu: Device, tmp_path: Path) -> None:
    target, sibling = (str(path) for path in save_pair(tmp_path))
    methods = [
        Method(name=draft, drafting=Drafting(draft=draft), draft=None if draft == "off" else sibling)
        for draft in ("off", "ngram", "model", "auto")
    ]
    prompts = (BenchPrompt(id="cat", category="story", messages=(Message(role="user", content=PROMPT),)),)
    load = LoadOptions(target=target, draft=sibling, context=600, dtype="float32", exact="on")
    plan = BenchPlan(load=load, methods=tuple(methods), prompts=prompts, repeats=2, max_tokens=20)
    started, *measured, done = run(plan, unheard, lambda: False)
    assert isinstance(started, BenchStarted)
    assert isinstance(done, BenchDone)
    assert not started.left_out
    answers = [event for event in measured if isinstance(event, Measured)]
    assert {answer.method for answer in answers} == {method.name for method in methods}
    assert len({answer.tokens for answer in answers}) == 1


def test_the_machine_is_described(gpu: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    timings = (Int4Timing(name="triton", relative_time=0.3),)
    monkeypatch.setattr("specdec.machine.measure_backends", lambda device, dtype: timings)
    monkeypatch.setattr("specdec.machine.COPY_BYTES", {"cuda": 2**20})
    facts = inspect_machine()
    assert [found.name for found in facts.gpus] == [NAME]
    assert (facts.device, facts.int4_chosen) == ("cuda", "triton")
    assert facts.copy_bytes_per_second > 0
    assert gpu.waits["synchronize"]
