"""The GPU check runs every stage on a CPU at tiny sizes, keeps what it has when something fails, and reckons its floors right."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import types
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch

from gpu_checks import kernels, report, running
from gpu_checks.answering import Answered, DrawnLengths, NoisyOracle
from gpu_checks.exactness import Count
from gpu_checks.findings import NO_TIME, Findings
from gpu_checks.floors import floor_ms, int4_matrix_bytes, step_bytes
from gpu_checks.goals import GOALS, IDLE, PLAIN_STEP, VERIFY
from gpu_checks.int4 import matrices
from gpu_checks.limit import time_limit
from gpu_checks.setup import ROWS, Setup
from gpu_checks.shapes import LLAMA_1B, LLAMA_8B, QWEN_06B, QWEN_4B, QWEN_8B, SHAPES, tiny
from gpu_checks.synthetic import random_cache, random_decoder
from specdec.model.rows import View
from specdec.options import MAX_DRAFT_TOKENS

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "scripts" / "gpu_check.py"
CPU = Setup(torch.device("cpu"), tiny=True)
WITHOUT_PYDANTIC = """
import sys, runpy
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("pydantic", "platformdirs", "textual", "bitsandbytes"):
            raise ModuleNotFoundError(f"No module named {name!r}")
sys.meta_path.insert(0, Missing())
script = sys.argv.pop(1)
sys.argv[0] = script
sys.path.insert(0, script.rpartition("/")[0])
runpy.run_path(script, run_name="__main__")
"""


def python(*arguments: str, interpret: bool = False) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(ROOT / "engine"), str(ROOT / "scripts"), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1", "TRITON_INTERPRET": str(int(interpret))}
    return subprocess.run([sys.executable, *arguments], env=environment, capture_output=True, text=True, timeout=280)


@dataclass(frozen=True)
class Run:
    """A run of the script: what it printed and what it wrote."""

    process: subprocess.CompletedProcess[str]
    found: dict[str, Any]
    markdown: str

    def rows(self, stage: str, table: str) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = self.found["stages"][stage]["tables"][table]
        return rows


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> Run:
    out = tmp_path_factory.mktemp("gpu_check") / "new"
    process = python(str(SCRIPT), "--device", "cpu", "--tiny", "--out", str(out))
    found = json.loads((out / report.JSON_NAME).read_text(encoding="utf-8"))
    assert {path.name for path in out.iterdir()} == {report.JSON_NAME, report.MARKDOWN_NAME}
    return Run(process, found, (out / report.MARKDOWN_NAME).read_text(encoding="utf-8"))


def findings(seconds: float = 60.0, full_size: bool = False) -> Findings:
    return Findings(time.perf_counter() + seconds, full_size, lambda: None)


def test_every_stage_runs_on_a_cpu(everything: Run) -> None:
    stages = everything.found["stages"]
    assert list(stages) == list(running.MODULES)
    assert {name: (stage["status"], stage["failed"]) for name, stage in stages.items()} == dict.fromkeys(running.MODULES, ("done", []))
    assert everything.process.returncode == 0, everything.process.stderr


def test_the_json_has_one_shape(everything: Run) -> None:
    assert set(everything.found) == {"schema", "about", "stages"}
    for name, stage in everything.found["stages"].items():
        assert set(stage) == {"status", "seconds", "tables", "goals", "skipped", "failed"}
        assert bool(stage["tables"]) == (name != "kernels")
        for rows in stage["tables"].values():
            assert rows
            assert all(value is None or isinstance(value, str | int | float) for row in rows for value in row.values())
        assert all(set(goal) == {"key", "goal", "how", "measured", "met"} for goal in stage["goals"])


def test_what_needs_a_gpu_is_left_out_with_a_reason(everything: Run) -> None:
    skipped = {name: {each["what"]: each["reason"] for each in stage["skipped"]} for name, stage in everything.found["stages"].items()}
    assert skipped["environment"]["GPU"] == "the device is a CPU"
    assert skipped["compile"]["torch.compile"] == "it is measured on a GPU only"
    assert all(skipped[name]["CUDA graphs"] for name in ("exactness", "steps", "int4", "compile"))
    assert skipped["int4"]["nf4"]
    assert skipped["kernels"] == {"Triton kernels": kernels.NO_GPU if find_spec("triton") else kernels.NO_TRITON}
    assert skipped["host"]["GPU time of a round"]


def test_goal_and_measured_stand_beside_each_other_and_tiny_figures_get_no_verdict(everything: Run) -> None:
    goals = [goal for stage in everything.found["stages"].values() for goal in stage["goals"]]
    assert {goal["key"] for goal in goals} == set(GOALS) - {IDLE}
    assert all(goal["met"] is None for goal in goals)
    for goal in goals:
        line = f"| {goal['goal']} | {goal['how']} | {report.shown(goal['measured'])} | "
        assert line in everything.process.stdout
        assert line in everything.markdown


def test_the_markdown_holds_every_table(everything: Run) -> None:
    for name, stage in everything.found["stages"].items():
        part = everything.markdown.split(f"\n## {name}\n")[1].split("\n## ")[0]
        assert all(f"### {title}\n" in part for title in stage["tables"])


def test_every_drafter_is_compared_with_plain_decoding(everything: Run) -> None:
    rows = everything.rows("exactness", "answers against plain decoding, random draft lengths")
    demo = [row for row in rows if row["model"].startswith("demo pair")]
    assert {row["drafter"] for row in demo} == {"ngram", "sibling", "int4", "all of them", "oracle"}
    assert {(row["model"].split(", ")[1], row["temperature"]) for row in demo} == {(d, t) for d in CPU.dtypes for t in (0.0, 0.7)}
    assert all(row["answers"] == row["same_tokens"] for row in rows)
    assert all(row["answers"] == row["same_logits"] for row in demo)
    assert all(0 < row["accepted"] < row["tested"] for row in demo if row["drafter"] in ("sibling", "oracle"))
    assert {row["model"] for row in everything.rows("exactness", "what exact mode chose")} == {row["model"] for row in rows}


def test_steps_cover_all_shapes_rows_and_contexts(everything: Run) -> None:
    rows = everything.rows("steps", "a forward pass")
    assert {(row["model"], row["context"], row["rows"]) for row in rows} == {(m, c, r) for m in SHAPES for c in CPU.contexts for r in ROWS}
    assert all(row["eager_share"] == pytest.approx(row["floor_ms"] / row["eager_ms"]) for row in rows)
    ratios = everything.rows("steps", "16 rows against 1")
    first = [row["eager_ms"] for row in rows if (row["model"], row["context"]) == (LLAMA_8B, CPU.contexts[0])]
    assert ratios[0]["ratio"] == pytest.approx(first[-1] / first[0])


def test_int4_kernels_are_compared_with_float64(everything: Run) -> None:
    rows = everything.rows("int4", "a matrix product")
    assert {(row["matrix"], row["rows"]) for row in rows} == {(name, count) for name in matrices(CPU.shape(LLAMA_8B)) for count in ROWS}
    assert all(row["error"] < 1e-5 for row in rows if row["kernel"] == "full precision")
    assert all(0.01 < row["error"] < 0.15 for row in rows if row["kernel"] == "int4pack")
    steps = everything.rows("int4", "a step of the INT4 copy")
    assert [step["how"] for step in steps] == ["eager", "engine"]
    assert all(step["c"] == pytest.approx(step["copy_ms"] / step["target_ms"]) for step in steps)


def test_every_kernel_is_compared_with_float64_and_with_torch(tmp_path: Path) -> None:
    pytest.importorskip("triton")
    arguments = ("--device", "cpu", "--tiny", "--stages", "kernels", "--out", str(tmp_path))
    process = python(str(SCRIPT), *arguments, interpret=True)
    assert process.returncode == 0, process.stderr
    stage = json.loads((tmp_path / report.JSON_NAME).read_text(encoding="utf-8"))["stages"]["kernels"]
    assert stage["status"] == "done"
    rows = stage["tables"]["a kernel"]
    names = matrices(CPU.shape(LLAMA_8B))
    operations = {("add_norm", "hidden state"), ("swiglu", "gate and up"), ("rotate_and_write", "qkv")}
    operations |= {("decode_attention", f"context {context}") for context in CPU.contexts}
    operations |= set(product(("skinny", "int4_product"), names))
    measured = {(row["model"], (row["kernel"], row["of"]), row["rows"], row["implementation"]) for row in rows}
    assert measured == set(product((LLAMA_8B, QWEN_8B), operations, kernels.KERNEL_ROWS, (kernels.TRITON, kernels.TORCH)))
    assert len(rows) == len(measured)
    assert all(row["error"] < (0.02 if row["kernel"] == "int4_product" else 1e-6) for row in rows)
    assert all(row["eager_share"] == pytest.approx(row["floor_ms"] / row["eager_ms"]) for row in rows)


def test_without_triton_the_kernels_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "find_spec", lambda name: None)
    found = findings()
    kernels.measure(CPU, found)
    assert (found.tables, [(each.what, each.reason) for each in found.skipped]) == ({}, [("Triton kernels", "triton is not installed")])


def test_the_error_of_a_kernel_covers_all_it_writes() -> None:
    exact = (torch.tensor([3.0, 4.0], dtype=torch.float64), torch.tensor([[12.0]], dtype=torch.float64))
    assert kernels.relative_error((torch.tensor([3.0, 4.0]), torch.tensor([[12.0]])), exact) == 0
    assert kernels.relative_error((torch.tensor([3.0, 4.0]), torch.tensor([[10.7]])), exact) == pytest.approx(0.1)
    assert kernels.relative_error(torch.tensor([6.0, 8.0]), exact[0]) == 1


def test_rounds_and_host_measure_every_drafter(everything: Run) -> None:
    ends = everything.rows("rounds", "end to end, demo pair")
    assert {row["drafter"] for row in ends} == {"plain", "ngram", "sibling", "int4", "auto"}
    (identity,) = everything.rows("rounds", "answers against plain decoding")
    assert identity["answers"] > 0
    assert identity["different"] == 0
    host = everything.rows("host", "a round")
    assert [row["drafter"] for row in host] == ["plain", "ngram", "sibling", "int4", "plain", "sibling"]
    assert all(row["wall_ms"] > 0 for row in host)


def test_without_pydantic_the_stages_that_do_not_need_it_still_run(tmp_path: Path) -> None:
    names = "environment,int4,steps,compile"
    process = python("-c", WITHOUT_PYDANTIC, str(SCRIPT), "--device", "cpu", "--tiny", "--out", str(tmp_path), "--stages", names)
    stages = json.loads((tmp_path / report.JSON_NAME).read_text(encoding="utf-8"))["stages"]
    assert {name: stage["status"] for name, stage in stages.items()} == {
        "environment": "done",
        "int4": "failed in part",
        "steps": "done",
        "compile": "done",
    }
    assert stages["int4"]["failed"] == [{"what": "int4", "reason": "ModuleNotFoundError: No module named 'pydantic'"}]
    assert process.returncode == 1
    assert "| int4 | failed in part |" in process.stdout


def test_a_failing_stage_is_recorded_and_the_next_one_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def measure(setup: Setup, found: Findings) -> None:
        found.add("first", ms=1.5)

        def broken() -> None:
            raise ValueError("out of luck\nand more")

        found.part("a part", broken)
        found.add("second", ms=2.5)
        raise RuntimeError

    module = types.ModuleType("broken_stage")
    module.measure = measure  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "broken_stage", module)
    monkeypatch.setitem(running.MODULES, "broken", "broken_stage")
    found = running.run(CPU, ["broken", "environment"], tmp_path)
    assert [(each.what, each.reason) for each in found["broken"].failed] == [
        ("a part", "ValueError: out of luck"),
        ("broken", "RuntimeError: "),
    ]
    assert found["broken"].tables == {"first": [{"ms": 1.5}], "second": [{"ms": 2.5}]}
    assert report.status(found["environment"]) == "done"
    assert "- a part: ValueError: out of luck" in (tmp_path / report.MARKDOWN_NAME).read_text(encoding="utf-8")


def test_a_killed_run_keeps_every_finished_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def measure(setup: Setup, found: Findings) -> None:
        found.part("first", lambda: found.add("times", ms=1.5))
        raise KeyboardInterrupt

    module = types.ModuleType("killed_stage")
    module.measure = measure  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "killed_stage", module)
    monkeypatch.setitem(running.MODULES, "killed", "killed_stage")
    with pytest.raises(KeyboardInterrupt):
        running.run(CPU, ["killed"], tmp_path)
    stage = json.loads((tmp_path / report.JSON_NAME).read_text(encoding="utf-8"))["stages"]["killed"]
    assert (stage["status"], stage["tables"]) == ("not finished", {"times": [{"ms": 1.5}]})


def test_no_part_begins_when_the_time_is_over() -> None:
    late = findings(seconds=0.0)
    late.part("late", lambda: pytest.fail("it began"))
    assert [(each.what, each.reason) for each in late.skipped] == [("late", NO_TIME)]


def test_goals_are_judged_at_full_size_only() -> None:
    judged = findings(full_size=True)
    judged.goal(PLAIN_STEP, "graph", 0.90)
    judged.goal(PLAIN_STEP, "eager", 0.89)
    judged.goal(VERIFY, "eager", 1.11)
    judged.goal(VERIFY, "graph", float("nan"))
    assert [reached.met for reached in judged.goals] == [True, False, False, False]
    small = findings()
    small.goal(PLAIN_STEP, "graph", 0.95)
    assert small.goals[0].met is None


@pytest.mark.parametrize(
    ("name", "published"),
    [(LLAMA_8B, 8030261248), (LLAMA_1B, 1235814400), (QWEN_8B, 8190735360), (QWEN_4B, 4022468096), (QWEN_06B, 596049920)],
)
def test_shapes_have_the_published_number_of_parameters(name: str, published: int) -> None:
    config = SHAPES[name]
    norms = config.hidden_size * (2 * config.layers + 1) + (2 * config.head_dim * config.layers if config.qk_norm else 0)
    assert config.parameters + norms == published


def test_the_floor_of_a_step_of_llama_8b() -> None:
    embedding, norms, kv_of_a_token = 128256 * 4096, 65 * 4096, 128 * 1024
    size = step_bytes(SHAPES[LLAMA_8B], 1024, 2)
    assert size == (8030261248 - embedding - norms) * 2 + 1024 * kv_of_a_token
    assert floor_ms(size, 3e12) == pytest.approx(5.048, abs=5e-4)
    assert int4_matrix_bytes(28672, 4096) == 58720256


@pytest.mark.parametrize("name", SHAPES)
def test_synthetic_models_have_the_size_that_floors_reckon_with_and_run(name: str) -> None:
    config = tiny(SHAPES[name])
    assert config.heads // config.kv_heads == SHAPES[name].heads // SHAPES[name].kv_heads
    decoder = random_decoder(config, torch.float16, CPU.device, 64)
    weights = decoder.weights
    linears = [linear for layer in weights.layers for linear in (layer.qkv, layer.output, layer.gate_up, layer.down)]
    size = sum(linear.weight.nbytes for linear in [*linears, weights.head])  # type: ignore[attr-defined]
    cache = random_cache(decoder, 64)
    assert step_bytes(config, 64, 2) == size + cache.rows[:, :, :64].numel() * 2
    logits = decoder.forward(torch.arange(3), 61, cache, View(64))
    assert logits.isfinite().all()
    assert (weights.head.weight is weights.embedding) == config.tied  # type: ignore[attr-defined]


def test_answers_that_differ_are_counted_as_such() -> None:
    logits = torch.zeros(2, 4)
    plain = Answered([1, 2], logits, [])
    count = Count()
    for other in (plain, Answered([1, 3], logits, []), Answered([1, 2], logits + 1e-7, [])):
        count.add(plain, other)
    assert (count.answers, count.same_tokens, count.same_logits) == (3, 2, 2)


def test_drawn_lengths_take_every_length_there_is_room_for() -> None:
    oracle = NoisyOracle(range(100), 100, 0.5, seed=0)
    oracle.begin([0])
    lots = DrawnLengths(0)
    assert {lots.choose([oracle], MAX_DRAFT_TOKENS, None, True).length for _ in range(400)} == set(range(MAX_DRAFT_TOKENS + 1))
    assert {DrawnLengths(0, 4, 4).choose([oracle], limit, None, True).length for limit in range(8)} == set(range(5))
    assert lots.choose([], 5, None, True).drafter is None


def test_a_time_limit_ends_work_even_if_the_first_interruption_is_swallowed() -> None:
    def stubborn() -> None:
        try:
            time.sleep(20)
        except TimeoutError:
            time.sleep(20)

    began = time.perf_counter()
    with pytest.raises(TimeoutError, match=r"not done after 0 s"), time_limit(0.1):
        stubborn()
    assert time.perf_counter() - began < 10


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--device", "cpu"], "on a CPU only --tiny can be measured"),
        (["--device", "cpu", "--tiny", "--stages", "steps,speed"], "there is no stage 'speed'"),
        (["--device", "tpu"], "there is no device 'tpu' here"),
    ],
)
def test_a_wrong_call_is_refused(arguments: list[str], complaint: str, tmp_path: Path) -> None:
    process = python(str(SCRIPT), "--out", str(tmp_path / "out"), *arguments)
    assert process.returncode == 2
    assert complaint in process.stderr
    assert not (tmp_path / "out").exists()
