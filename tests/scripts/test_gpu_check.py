"""The GPU check runs every stage on a CPU at tiny sizes, keeps what it has when something fails, and reckons its floors right."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import types
from dataclasses import dataclass, replace
from importlib.util import find_spec
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch

from gpu_checks import kernels, loading, pair, report, running, sampling
from gpu_checks.answering import Answered, DrawnLengths, NoisyOracle
from gpu_checks.benching import Benched, bench, speed_ratio
from gpu_checks.demo import SIBLING_SOURCE, load_options
from gpu_checks.engine_process import Engine, EngineError
from gpu_checks.exactness import Count
from gpu_checks.findings import NO_TIME, Findings
from gpu_checks.floors import floor_ms, int4_matrix_bytes, step_bytes
from gpu_checks.goals import AUTO_CHAT, AUTO_REPETITIVE, FIRST_ANSWER, GOALS, IDLE, MEMORY_PEAK, PLAIN_STEP, VERIFY
from gpu_checks.int4 import matrices
from gpu_checks.limit import time_limit
from gpu_checks.loading import loaded_at, reading
from gpu_checks.memory import BEFORE, MOST, Peak, apart, process_bytes, watched
from gpu_checks.rounds import methods
from gpu_checks.setup import ROWS, Setup
from gpu_checks.shapes import LLAMA_1B, LLAMA_8B, QWEN_06B, QWEN_4B, QWEN_8B, SHAPES, tiny
from gpu_checks.synthetic import random_cache, random_decoder
from gpu_checks.widened import WIDENED, widened_pair
from specdec.benchmark.plan import BenchPlan
from specdec.benchmark.prompts import OWN_PROMPTS, choose, read_prompts
from specdec.events import BenchStarted, Hello, Measured, Progress, Ready, Statistics
from specdec.model.rows import View
from specdec.options import MAX_DRAFT_TOKENS, LoadOptions

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "scripts" / "gpu_check.py"
CPU = Setup(torch.device("cpu"), tiny=True, widened=Path("nowhere"))
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
    assert {goal["key"] for goal in goals} == set(GOALS) - {IDLE, MEMORY_PEAK}
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


def test_prompts_are_read_in_large_and_small_chunks(everything: Run) -> None:
    rows = everything.rows("prefill", "reading a prompt")
    assert {row["chunks"] for row in rows} == {"chunks of 512", "chunks of 128"}
    assert {row["tokens"] for row in rows} == set(CPU.contexts)
    for row in rows:
        assert row["share"] == pytest.approx(row["floor_ms"] / row["ms"])


def test_a_draw_is_timed_for_the_device_and_for_the_host(everything: Run) -> None:
    rows = everything.rows("sampling", "a draw")
    assert {row["way"] for row in rows} == set(sampling.WAYS)
    assert {(row["model"], row["rows"]) for row in rows} == {(name, count) for name in (LLAMA_8B, QWEN_8B) for count in sampling.ROWS}
    steps = {row["model"]: row["floor_ms"] for row in everything.rows("steps", "a forward pass") if row["context"] == CPU.contexts[0]}
    for row in rows:
        assert row["host_ms"] > 0
        assert row["of_a_step"] == pytest.approx(row["ms"] / steps[row["model"]])


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
    operations |= set(product(("skinny", "skinny int8", "int4_product"), names))
    measured = {(row["model"], (row["kernel"], row["of"]), row["rows"], row["implementation"]) for row in rows}
    assert measured == set(product((LLAMA_8B, QWEN_8B), operations, kernels.KERNEL_ROWS, (kernels.TRITON, kernels.TORCH)))
    assert len(rows) == len(measured)
    rounded = {("int4_product", kernels.TRITON): 0.02, ("int4_product", kernels.TORCH): 0.02, ("skinny int8", kernels.TORCH): 0.004}
    assert all(row["error"] < rounded.get((row["kernel"], row["implementation"]), 1e-6) for row in rows)
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
    assert {row["method"] for row in ends} == {"plain", "ngram", "sibling", "int4", "auto"}
    (identity,) = everything.rows("rounds", "answers against plain decoding")
    assert (identity["engine"], identity["answers"], identity["different"]) == ("specdec", 20, 0)
    host = everything.rows("host", "a round")
    assert [row["drafter"] for row in host] == ["plain", "ngram", "sibling", "int4", "plain", "sibling"]
    assert all(row["wall_ms"] > 0 for row in host)


def test_loading_is_timed_and_its_memory_set_beside_what_was_reckoned(everything: Run) -> None:
    rows = everything.rows("loading", f"loading the {WIDENED}")
    assert [row["draft"] for row in rows] == ["sibling", "int4"]
    for row in rows:
        assert 0 < row["calibration_seconds"] < row["first_answer_seconds"]
        assert row["read_seconds"] + row["calibration_seconds"] <= row["load_seconds"]
        assert 0.2 < row["memory_peak_gigabytes"] / row["memory_reckoned_gigabytes"] < 5
    (made,) = everything.rows("loading", f"the {WIDENED}")
    (found,) = everything.rows("pair", f"the {WIDENED}")
    assert made["gigabytes"] == found["gigabytes"] > rows[0]["read_gigabytes_per_second"] * rows[0]["read_seconds"] > 0
    assert made["seconds_to_make"] > 0
    assert found["seconds_to_make"] is None


def test_the_widened_pair_is_measured_in_turn_with_transformers(everything: Run) -> None:
    rows = {(row["category"], row["method"]): row for row in everything.rows("pair", f"end to end, {WIDENED}")}
    ours = {"plain", "ngram", "sibling", "int4", "auto"}
    theirs = {"transformers", "transformers-static", "transformers-sibling", "transformers-ngram"}
    assert set(rows) == set(product(("chat", "repetitive", "asked again", "overall"), ours | theirs))
    identity = everything.rows("pair", "answers against plain decoding")
    assert [(row["engine"], row["answers"]) for row in identity] == [("specdec", 2 * 3 * 5), ("transformers, greedy", 2 * 3 * 4)]
    assert identity[0]["different"] == 0
    goals = {(goal["key"], goal["how"]): goal["measured"] for goal in everything.found["stages"]["pair"]["goals"]}
    for category, key in {"chat": AUTO_CHAT, "repetitive": AUTO_REPETITIVE, "asked again": AUTO_REPETITIVE}.items():
        assert goals[key, f"{WIDENED}, greedy, {category} prompts"] == pytest.approx(rows[category, "auto"]["speedup"])
    (static,) = everything.rows("pair", "transformers with a static cache")
    assert min(static.values()) > 0


def test_the_stages_of_the_widened_pair_need_nothing_of_the_app() -> None:
    code = WITHOUT_PYDANTIC.partition("script =")[0].replace('"pydantic"', '"typer", "specchat"')
    assert python("-c", f"{code}\nimport gpu_check, gpu_checks.loading, gpu_checks.pair, gpu_checks.rounds").stderr == ""


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


def test_the_peak_of_memory_is_what_was_in_use_over_what_was_before() -> None:
    peak = Peak(before=100)
    for in_use in (90, 400, 250):
        peak.see(in_use)
    assert peak.growth == 300
    assert Peak(before=100, most=90).growth == 0
    assert (apart(95, 100), apart(100, 100), apart(110, 100)) == pytest.approx((0.05, 0, 0.1))


def test_memory_is_looked_at_all_the_while() -> None:
    in_use = iter([100, 120, 700, *[200] * 10_000])
    seen: list[int] = []

    def look() -> int:
        seen.append(next(in_use))
        return seen[-1]

    with watched(look) as peak:
        while len(seen) < 4:
            time.sleep(0.001)
    assert (peak.before, peak.most, peak.growth) == (100, 700, 600)


def test_the_memory_of_a_process_is_read_where_the_system_tells_it(tmp_path: Path) -> None:
    (tmp_path / "7").mkdir()
    (tmp_path / "7" / "status").write_text("Name:\tpython\nVmHWM:\t    2048 kB\nVmRSS:\t    1024 kB\n", encoding="ascii")
    assert [process_bytes(7, field, tmp_path) for field in (BEFORE, MOST, "VmOdd")] == [2**20, 2**21, None]
    assert process_bytes(8, MOST, tmp_path) is None


def test_reading_is_timed_from_the_first_report_on_without_what_that_one_tells() -> None:
    told = [("target", 30, 100), ("target", 100, 100), ("draft", 10, 50), ("draft", 50, 50), ("calibration", 0, 1)]
    reports = [
        (10.0 + index, Progress(stage=stage, done=done, total=total, unit="" if stage == "calibration" else "bytes"))
        for index, (stage, done, total) in enumerate(told)
    ]
    assert loaded_at(reports) == 14.0
    assert reading(reports) == (120, 4.0)


class OnGpu(Setup):
    """As if the CPU were a GPU."""

    on_gpu = True


def test_a_gpu_loads_with_and_without_compiled_kernels_and_is_looked_at_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    caches: list[str] = []
    in_use = 50

    def load(options: LoadOptions, kernels: str) -> loading.Loaded:
        nonlocal in_use
        assert options.context is None
        caches.append(kernels)
        in_use = 1090
        time.sleep(0.1)
        in_use = 50
        told = [("target", 10, 100, "bytes"), ("target", 100, 100, "bytes"), ("calibration", 0, 1, "")]
        reports = [(float(at), Progress(stage=s, done=d, total=t, unit=unit)) for at, (s, d, t, unit) in enumerate(told)]
        problem = "no kernel" if options.draft == "int4" else ""
        ready = Ready.model_construct(memory_bytes=1000, load_ms=1.0, context=64, exact=True, draft_problem=problem)
        return loading.Loaded(reports, ready, ready_at=3.0, first_round_at=3.5, peak=7)

    monkeypatch.setattr(loading, "_loaded", load)
    monkeypatch.setattr(loading, "device_in_use", lambda device: in_use)
    monkeypatch.setattr(loading, "widened_pair", lambda setup, found: {"target": Path("t"), "sibling": Path("s")})
    found = findings(full_size=True)
    loading.measure(OnGpu(torch.device("cpu"), tiny=False, widened=Path("nowhere")), found)
    assert found.failed == []
    assert [(each.what, each.reason) for each in found.skipped] == [("int4 draft", "no kernel")]
    assert caches[0] == caches[1] != caches[2] == caches[3]
    states = (loading.COMPILED_ANEW, loading.COMPILED_BEFORE)
    expected = [(key, state) for state in states for key in (FIRST_ANSWER, MEMORY_PEAK)]
    assert [(goal.key, goal.how.rpartition(", ")[2]) for goal in found.goals] == expected
    assert [goal.measured for goal in found.goals] == pytest.approx([1.5, 0.04] * 2)
    assert all(goal.met for goal in found.goals)


def test_the_widened_pair_is_made_once_and_never_in_the_place_of_something_else(tmp_path: Path) -> None:
    setup, found = replace(CPU, widened=tmp_path / "wide"), findings()
    with pytest.raises(TimeoutError, match=NO_TIME):
        widened_pair(setup, findings(seconds=0.0))
    assert list(setup.widened.iterdir()) == []
    folders = widened_pair(setup, found)
    assert {path.name for path in setup.widened.iterdir()} == set(folders) == {"target", "sibling"}
    assert widened_pair(setup, found) == folders
    made, there = found.tables[f"the {WIDENED}"]
    assert (made["seconds_to_make"] is None, there["seconds_to_make"]) == (False, None)
    with pytest.raises(FileExistsError, match="is not the target"):
        widened_pair(replace(setup, tiny=False), found)
    folders["target"].rename(tmp_path / "away")
    with pytest.raises(FileExistsError, match="sibling is there without"):
        widened_pair(setup, found)


def answered(method: str, prompt: str, tokens: int, ms: float, repeat: int = 1, category: str = "chat") -> Measured:
    counts = Statistics.model_construct(answer_tokens=tokens, decode_ms=ms)
    return Measured.model_construct(
        method=method, prompt=prompt, category=category, repeat=repeat, temperature=0.0, statistics=counts, tokens=(), text=""
    )


def test_speeds_are_compared_over_the_prompts_that_both_answered() -> None:
    answers = [
        answered("auto", "a", 100, 1000, repeat=0),
        answered("plain", "a", 100, 1000, repeat=0),
        *(answered("auto", "a", 100, 500, repeat) for repeat in (1, 2, 3)),
        *(answered("plain", "a", 100, ms, repeat) for repeat, ms in ((1, 1000), (2, 2000), (3, 1500))),
        answered("auto", "only auto's", 100, 1, repeat=1),
        answered("auto", "b", 100, 500, repeat=1, category="edit"),
        answered("plain", "b", 100, 4000, repeat=1, category="edit"),
    ]
    assert speed_ratio(answers, "auto", "plain", "chat") == pytest.approx(3.0)
    assert speed_ratio(answers, "auto", "plain", "edit") == pytest.approx(8.0)
    assert speed_ratio(answers, "auto", "plain") == pytest.approx(4.0)
    assert speed_ratio(answers, "auto", "gone") is None


def test_without_the_compiler_everything_else_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    plans: list[BenchPlan] = []

    def stuck_at_first(plan: BenchPlan, found: Findings) -> Benched:
        plans.append(plan)
        return Benched(BenchStarted.model_construct(left_out={}), [], TimeoutError("no word")) if len(plans) == 1 else Benched()

    monkeypatch.setattr(pair, "bench", stuck_at_first)
    monkeypatch.setattr(pair, "prompts", lambda setup: choose(read_prompts(OWN_PROMPTS), ["chat"], 1))
    monkeypatch.setattr(pair, "widened_pair", lambda setup, found: {"target": Path("t"), "sibling": Path("s")})
    found = findings()
    pair.measure(CPU, found)
    assert [(each.what, each.reason) for each in found.skipped] == [(pair.STATIC, "no word")]
    assert found.failed == []
    assert plans[0].methods[0].static_cache
    assert plans[1].methods == plans[0].methods[1:]


def test_a_benchmark_ends_with_the_time_of_its_stage_and_tells_what_went_wrong() -> None:
    one = choose(read_prompts(OWN_PROMPTS), ["chat"], 1)
    plan = BenchPlan(load=load_options(CPU, "float32"), methods=methods(SIBLING_SOURCE)[:1], prompts=tuple(one), max_tokens=4)
    ended = bench(plan, findings(seconds=0.0))
    assert (ended.started is None, ended.measured, ended.problem) == (False, [], None)
    gone = bench(plan.model_copy(update={"load": plan.load.model_copy(update={"target": "nobody/nothing"})}), findings())
    assert (gone.started, gone.measured) == (None, [])
    assert isinstance(gone.problem, EngineError)
    assert "nobody/nothing" in str(gone.problem)


def test_an_engine_that_says_nothing_is_killed() -> None:
    engine = Engine()
    _, hello = engine.next(60.0)
    assert isinstance(hello, Hello)
    with pytest.raises(TimeoutError, match="said nothing"), engine:
        engine.next(0.01)
    assert engine.process.poll() == -signal.SIGKILL


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
