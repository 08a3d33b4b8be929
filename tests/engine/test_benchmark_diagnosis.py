"""The diagnosis, case by case, from made-up figures; and what explains a gap between predicted and realised."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from specdec.benchmark.balance import Balance
from specdec.benchmark.diagnosis import WORTHWHILE, Finding, diagnose
from specdec.benchmark.gap import explain_gap
from specdec.benchmark.speedup import tokens_per_round
from specdec.benchmark.summary import OVERALL, PLAIN, Figures, Key, Spread
from specdec.machine_facts import Gpu, MachineFacts

STEP_MS = 10.0
GB = 10**9
FACTS = MachineFacts(
    processor="made up",
    cores=2,
    total_bytes=32 * GB,
    free_bytes=20 * GB,
    device="cpu",
    gpus=(),
    versions={},
    cuda=None,
    int4=(),
    int4_chosen=None,
    copy_bytes_per_second=1e10,
)


def figures(
    rates: tuple[float, ...] = (), draft: float = 0.0, verify: float = 1.0, host: float = 0.0, drafted: float = 1.0, spread: float = 0.01
) -> Figures:
    """What a method would show with this acceptance in the rounds that have a draft, and these costs of a round in plain steps."""
    tokens = 1 + drafted * (tokens_per_round(rates) - 1)
    gain = tokens / (draft + verify + host)
    return Figures(
        answers=3,
        answer_tokens=300,
        tokens_per_second=Spread(100, 99, 101),
        speedup=Spread(gain, gain - spread, gain + spread),
        predicted_speedup=tokens / (draft + verify),
        first_token_ms=Spread(1, 1, 1),
        inter_token_ms=0.0,
        inter_token_p95_ms=1.0,
        inter_token_p99_ms=1.0,
        rounds=round(300 / tokens),
        tokens_per_round=tokens,
        acceptance=sum(rates) / len(rates) if rates else None,
        acceptance_by_position=rates,
        draft_ms=draft * STEP_MS,
        verify_ms=verify * STEP_MS,
        host_ms=host * STEP_MS,
        memory_bytes=GB,
    )


def diagnosed(temperature: float = 0.0, *, story: dict[str, Figures] | None = None, **overall: Figures) -> list[Finding]:
    """The findings on these methods, given by name, and on some of them in the category of stories."""
    categories = {OVERALL: {PLAIN: figures(), **overall}, "story": {PLAIN: figures(), **(story or {})}}
    return diagnose(
        {Key(temperature, method, category): found for category, methods in categories.items() for method, found in methods.items()},
        temperature,
    )


def only(findings: list[Finding]) -> Finding:
    (finding,) = findings
    return finding


def test_nothing_is_found_where_speculation_gains() -> None:
    assert diagnosed(auto=figures((0.9,) * 4, 0.3, 1.2), sibling=figures((0.9,) * 4, 0.3, 1.2), ngram=figures((0.2,), 0.0, 1.3)) == []


def test_nothing_is_found_without_speculation() -> None:
    assert diagnosed() == diagnose({}, 0.0) == []


def test_acceptance_too_low() -> None:
    finding = only(diagnosed(sibling=figures((0.3,) * 4, 0.3, 1.2)))
    assert finding.name == "acceptance too low"
    assert finding.measured.startswith("sibling gains 0.95x: 30% of the tested tokens accepted, at least 40% needed")
    assert tokens_per_round([0.4] * 4) / 1.5 == pytest.approx(WORTHWHILE, abs=1e-3)


def test_draft_too_slow() -> None:
    finding = only(diagnosed(int4=figures((0.9,) * 2, 1.6, 1.05)))
    assert finding.name == "draft too slow"
    assert finding.measured == "int4 gains 1.02x: drafting costs 1.60 plain steps a round, at most 1.41 allowed for a gain of a tenth"
    assert tokens_per_round([0.9] * 2) / (1.41 + 1.05) == pytest.approx(WORTHWHILE, abs=2e-3)


def test_verify_too_dear() -> None:
    finding = only(diagnosed(sibling=figures((0.85,) * 4, 0.2, 3.4)))
    assert finding.name == "verify too dear"
    assert "verifying a draft costs 2.40 plain steps more than a plain step, at most 2.17 allowed" in finding.measured


def test_host_time_too_large() -> None:
    finding = only(diagnosed(sibling=figures((0.9,) * 2, 0.2, 1.1, host=1.3)))
    assert finding.name == "host time too large"
    assert "the host takes 1.30 plain steps a round more than in plain decoding, at most 1.16 allowed" in finding.measured


def test_the_hosts_share_of_a_plain_step_is_no_loss() -> None:
    plain = replace(figures(), verify_ms=STEP_MS / 2, host_ms=STEP_MS / 2)
    balance = Balance.of(replace(figures((0.5,)), verify_ms=STEP_MS / 2, host_ms=STEP_MS / 2), plain)
    assert balance.costs["host"] == 0
    assert balance.speedup == pytest.approx(1.5)


def test_too_few_drafts() -> None:
    finding = only(diagnosed(ngram=figures((0.8,) * 3, 0.0, 1.01, drafted=0.05)))
    assert finding.name == "too few drafts"
    assert finding.measured.startswith("ngram gains 1.09x: a draft in about 5% of the rounds, at least 6% needed")


def test_no_draft_at_all() -> None:
    finding = only(diagnosed(ngram=figures()))
    assert (finding.name, finding.measured) == ("too few drafts", "ngram gains 1.00x: no draft in 300 rounds")


def test_a_draft_that_is_never_accepted() -> None:
    finding = only(diagnosed(sibling=figures((0.0,), 0.5, 1.1)))
    assert finding.name == "acceptance too low"
    assert "0% of the tested tokens accepted, at least 76% needed" in finding.measured


def test_where_no_single_change_would_do_the_largest_loss_is_named() -> None:
    finding = only(diagnosed(int4=figures((0.5,), 3.0, 1.8)))
    assert finding.name == "draft too slow"
    assert finding.measured.endswith("; no change of that alone gives a gain of a tenth")


def test_the_method_nearest_to_paying_comes_first() -> None:
    near, far = figures((0.4,) * 4, 0.3, 1.25), figures((0.1,) * 4, 0.3, 1.25)
    assert [finding.measured.split()[0] for finding in diagnosed(sibling=far, int4=near)] == ["int4", "sibling"]


def test_the_controllers_mixture_is_judged_only_where_nothing_was_forced() -> None:
    poor = figures((0.3,) * 4, 0.3, 1.2)
    assert [finding.measured.split()[0] for finding in diagnosed(auto=poor, sibling=poor)] == ["sibling"]
    assert [finding.measured.split()[0] for finding in diagnosed(auto=poor)] == ["auto"]


def test_wrong_draft_where_another_is_a_tenth_faster_than_the_default() -> None:
    finding = only(diagnosed(auto=figures((0.5,), 0.1, 1.1), int4=figures((0.9,) * 3, 0.5, 1.1)))
    assert finding.name == "wrong draft for this text"
    assert finding.measured == "overall: int4 2.15x, auto 1.25x"


def test_wrong_draft_in_a_category() -> None:
    good, better = figures((0.8,) * 3, 0.5, 1.1), figures((0.9,) * 5, 0.0, 1.2)
    finding = only(diagnosed(sibling=good, ngram=figures((0.2,)), story={"sibling": good, "ngram": better}))
    assert finding.measured == "story: ngram 3.90x, sibling 1.85x"


def test_a_lead_within_the_spread_of_the_repeats_is_no_finding() -> None:
    assert diagnosed(auto=figures((0.5,), 0.1, 1.1, spread=0.6), int4=figures((0.9,) * 3, 0.5, 1.1, spread=0.6)) == []


def test_a_draft_that_merely_loses_less_is_not_recommended() -> None:
    findings = diagnosed(auto=figures((0.3,) * 4, 0.8, 1.2), ngram=figures((0.4,), 0.0, 1.4))
    assert [finding.name for finding in findings] == ["acceptance too low"]


def test_other_engines_and_temperatures_are_not_judged() -> None:
    poor = figures((0.3,) * 4, 0.3, 1.2)
    assert diagnosed(transformers_assisted=poor) == []
    assert diagnose({Key(0.7, PLAIN, OVERALL): figures(), Key(0.7, "sibling", OVERALL): poor}, 0.0) == []
    assert diagnose({Key(0.0, "sibling", OVERALL): replace(poor, speedup=None)}, 0.0) == []


@pytest.mark.parametrize(("need", "found"), [(17 * GB, 0), (19 * GB, 1), (24 * GB, 1)])
def test_memory_is_short_where_a_pair_does_not_fit_or_nearly(need: int, found: int) -> None:
    findings = diagnose({}, 0.0, FACTS, need)
    assert len(findings) == found
    assert all(finding.name == "memory short" and "20.0 GB of memory free" in finding.measured for finding in findings)


def test_memory_is_that_of_the_gpu_in_use() -> None:
    gpus = tuple(Gpu(name="g", driver="1", capability="9.0", total_bytes=16 * GB, free_bytes=free * GB) for free in (15, 2))
    on_first, on_second = (FACTS.model_copy(update={"device": device, "gpus": gpus}) for device in ("cuda", "cuda:1"))
    assert diagnose({}, 0.0, on_first, 3 * GB) == []
    assert only(diagnose({}, 0.0, on_second, 3 * GB)).measured == "3.0 GB needed, 2.0 GB of GPU memory free"


def test_every_finding_is_two_sentences_and_a_figure() -> None:
    for finding in diagnosed(a=figures((0.3,) * 4, 0.3, 1.2), b=figures((0.9,), 0.9, 1.0), c=figures()):
        assert finding.sentence.endswith(".")
        assert finding.next_step.endswith(".")
        assert any(letter.isdigit() for letter in finding.measured)


@given(
    st.lists(st.floats(0.01, 1), min_size=1, max_size=15),
    st.floats(0.01, 1),
    st.tuples(*[st.floats(0, 3)] * 3),
)
def test_the_allowed_size_of_a_loss_gives_the_wanted_gain(rates: list[float], drafted: float, costs: tuple[float, float, float]) -> None:
    method = figures(tuple(rates), costs[0], 1 + costs[1], costs[2], drafted)
    balance = Balance.of(method, figures())
    assert method.acceptance is not None
    assume(balance.speedup < WORTHWHILE)
    worst = balance.bottleneck(WORTHWHILE, 1 - method.acceptance)
    assert balance.gain(worst.loss, 1.0) == pytest.approx(balance.speedup)
    if worst.allowed is None:
        assert balance.gain(worst.loss, 0.0) < WORTHWHILE
    else:
        assert 0 <= worst.allowed <= worst.size
        assert balance.gain(worst.loss, worst.staying) == pytest.approx(WORTHWHILE)


def test_the_gap_between_predicted_and_realised_is_taken_apart() -> None:
    plain = figures()
    method = replace(figures((0.8,) * 3, 0.5, 1.1, host=0.4), predicted_speedup=2.4)
    gap = explain_gap(method, plain)
    assert gap
    assert method.speedup
    assert gap.ratio == pytest.approx(2.4 / method.speedup.median)
    assert gap.tokens == pytest.approx(2.4 * 1.6 / 2.952)
    assert gap.host == pytest.approx(2.0 / 1.6)
    assert gap.rest == pytest.approx(1.0)
    assert gap.reason == "The book expects 30% more tokens a round than there were."


def test_the_reason_for_a_gap_is_its_largest_factor() -> None:
    slow_host = explain_gap(figures((0.8,) * 3, 0.5, 1.1, host=0.4), figures())
    assert slow_host
    assert slow_host.reason == "Beside a plain step, the host makes a round 25% longer."
    shared = figures((0.8,) * 3, 0.5, 1.1)
    uneven = explain_gap(replace(shared, speedup=Spread(3.0, 3.0, 3.0)), figures())
    assert uneven
    assert uneven.reason.startswith("The repeats were uneven")
    host_bound = replace(figures(), host_ms=STEP_MS)
    amortised = explain_gap(replace(shared, speedup=Spread(3.69, 3.69, 3.69)), host_bound)
    assert amortised
    assert amortised.reason == "Beside a plain step, the host makes a round 50% shorter."


def test_no_reason_is_needed_within_a_tenth_and_no_gap_without_a_prediction() -> None:
    near = explain_gap(figures((0.8,) * 3, 0.5, 1.1, host=0.1), figures())
    assert near
    assert near.reason == ""
    assert explain_gap(replace(figures((0.8,)), predicted_speedup=None), figures()) is None
    assert explain_gap(replace(figures((0.8,)), speedup=None), figures()) is None
