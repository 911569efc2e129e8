"""The guard: what is dearer is warned of and refused, what is noise passes, and what is allowed says why."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from tests.bench import agreement, guard, lineage
from tests.bench.agreement import Agreement, Allowance
from tests.bench.lineage import History, Incomparable
from tests.bench.processes import Unavailable
from tests.bench.verdicts import LEAST_ROUNDS, Grade, Round, counting, judge

BASE = "ea919480c3438be9b058682a9b72314966f72484"
NOISE = (0.97, 1.04, 1.00, 0.93, 1.06, 1.01)  # of one round, on a machine that has other work


def round_(ratio: float, *, moved: float = 1.02, failed: int = 0) -> Round:
    return Round((20.0, 20.0 * moved), (100.0, 110.0), (104.0 * ratio, 106.0 * ratio), failed)


def rounds(dearer: float, noise: Sequence[float] = NOISE) -> list[Round]:
    return [round_(dearer * each) for each in noise]


# ---- one verdict ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dearer", "grade"),
    [(1.20, Grade.FAILED), (1.12, Grade.FAILED), (1.07, Grade.WARNED), (1.0, Grade.FINE), (0.6, Grade.FINE)],
)
def test_a_fifth_more_is_too_dear_a_fifteenth_is_warned_of_and_noise_passes(dearer: float, grade: Grade) -> None:
    assert judge("2kb-0", rounds(dearer)).grade is grade


def test_a_verdict_is_the_median_of_rounds_and_shows_their_spread() -> None:
    found = judge("2kb-0", rounds(1.0, [1.0, 1.01, 1.02, 1.03, 9.0]))
    assert (round(found.ratio, 3), found.grade) == (1.02, Grade.FINE)
    assert found.spread == pytest.approx((1.0, 9.0))
    assert (found.base_us, found.rounds) == (105.0, 5)


def test_a_machine_that_became_slower_within_a_round_falls_on_both() -> None:
    drifting = Round((20.0, 20.5), (100.0, 130.0), (110.0, 120.0))
    assert drifting.ratio == 1.0


def test_rounds_in_which_the_relay_moved_do_not_count_while_enough_others_do() -> None:
    still = rounds(1.0, [1.0] * LEAST_ROUNDS)
    restless = [round_(1.4, moved=1.5)] * 4
    assert counting([*restless, *still]) == still
    assert judge("2kb-0", [*restless, *still]).grade is Grade.FINE


def test_on_a_restless_machine_the_stillest_rounds_count() -> None:
    moved = [1.9, 1.2, 1.3, 1.8, 1.25, 1.4, 1.22]
    counted = counting([round_(1.0, moved=each) for each in moved])
    assert sorted(round(each.moved, 2) for each in counted) == [1.2, 1.22, 1.25, 1.3, 1.4]


def test_too_few_rounds_say_nothing() -> None:
    with pytest.raises(ValueError, match="4 rounds of 2kb-0"):
        judge("2kb-0", rounds(1.0)[:4])


# ---- all of them ---------------------------------------------------------------------------------------------------


class Machine:
    """A machine on which measurement n finds every load so many times as dear, and some answers wrong."""

    def __init__(self, *found: Mapping[str, float], wrong: Sequence[int] = (0, 0)) -> None:
        self.found = list(found)
        self.wrong = list(wrong)
        self.asked: list[tuple[list[str], int]] = []

    def __call__(self, loads: Sequence[str], count: int) -> dict[str, list[Round]]:
        self.asked.append((list(loads), count))
        dearer, wrong = self.found.pop(0), self.wrong.pop(0)
        taken = {load: rounds(dearer.get(load, 1.0)) for load in loads}
        first = taken[loads[0]]
        first[0] = replace(first[0], failed=wrong)
        return taken


def grades(machine: Machine, allowances: Mapping[str, Allowance] | None = None) -> dict[str, Grade]:
    verdicts, _ = guard.judged(machine, allowances or {})
    return {each.load: each.grade for each in verdicts if each.grade is not Grade.FINE}


def test_an_unchanged_tree_is_measured_once() -> None:
    machine = Machine({})
    assert grades(machine) == {}
    assert machine.asked == [(list(guard.GUARDED), guard.ROUNDS)]


def test_what_looks_too_dear_is_measured_once_more_alone_and_longer() -> None:
    machine = Machine({"burst-3": 1.3}, {"burst-3": 1.02})
    assert grades(machine) == {}
    assert machine.asked[1] == (["burst-3"], guard.AGAIN_ROUNDS)


def test_what_is_too_dear_twice_fails_and_what_is_a_little_dearer_only_warns() -> None:
    machine = Machine({"2kb-3": 1.2, "paced-3": 1.07}, {"2kb-3": 1.2})
    assert grades(machine) == {"2kb-3": Grade.FAILED, "paced-3": Grade.WARNED}


def test_wrong_answers_are_asked_for_once_more_and_then_count() -> None:
    assert guard.judged(Machine({}, {}, wrong=(3, 0)), {})[1] == 0
    assert guard.judged(Machine({}, {}, wrong=(3, 2)), {})[1] == 2


ALLOWED = Allowance("2kb-3", 0.15, "Rules on tools are judged before every request.")


def test_what_is_allowed_passes_and_its_reason_is_printed() -> None:
    machine = Machine({"2kb-3": 1.17})
    verdicts, _ = guard.judged(machine, {"2kb-3": ALLOWED})
    assert {each.grade for each in verdicts} == {Grade.FINE}
    told = guard.told(verdicts, {"2kb-3": ALLOWED})
    assert "allowed for 2kb-3: + 15%: Rules on tools are judged before every request." in told
    assert "| 2kb-3 |" in told


def test_an_allowance_is_no_blank_cheque() -> None:
    machine = Machine({"2kb-3": 1.3}, {"2kb-3": 1.3})
    assert grades(machine, {"2kb-3": ALLOWED}) == {"2kb-3": Grade.FAILED}


# ---- the committed file --------------------------------------------------------------------------------------------


def toml(base: str = BASE, **allowance: object) -> str:
    lines = [f'base = "{base}"']
    if allowance:
        told = {"base": base, "load": "2kb-0", "more": 0.08, "reason": ALLOWED.reason} | allowance
        lines += ["[[allowance]]", *(f"{name} = {value!r}" for name, value in told.items() if value is not None)]
    return "\n".join(lines)


def test_the_committed_file_is_valid() -> None:
    agreement.read(agreement.COMMITTED.read_text(), guard.GUARDED)


def test_an_allowance_is_read() -> None:
    found = agreement.read(toml(more=0.08), guard.GUARDED)
    assert found == Agreement(BASE, {"2kb-0": Allowance("2kb-0", 0.08, ALLOWED.reason)})


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("base = ", "not TOML"),
        ("", "base is None"),
        (toml("ea91948"), "the whole id of a commit"),
        (toml() + "\nmore = 1", "the file says more"),
        (toml(reason=None), "has no reason"),
        (toml(reason="   "), "has no reason"),
        (toml(reason="because"), "has no reason"),
        (toml(base="a" * 40) + f"\n[[allowance]]\nbase = '{BASE}'\nload = '2kb-0'\nmore = 0.1", "it ended, remove it"),
        (toml(load="1kb-0"), "the loads are 2kb-0"),
        (toml(more=0), "share of the base's cost"),
        (toml(more=8), "share of the base's cost"),
        (toml(more=True).replace("True", "true"), "share of the base's cost"),
        (toml(until="2027"), "an allowance says until"),
        (toml(more=0.1) + toml(more=0.2).split("\n", 1)[1].join("\n\n"), "two allowances for 2kb-0"),
    ],
)
def test_a_wrong_file_is_refused_with_what_would_be_right(text: str, words: str) -> None:
    with pytest.raises(agreement.Invalid, match=words):
        agreement.read(text, guard.GUARDED)


# ---- the base ------------------------------------------------------------------------------------------------------


@pytest.fixture
def clone(tmp_path: Path) -> Callable[..., str]:
    """Runs git in a repository of three commits; the first of them has a tag."""

    def git(*words: str, at: Path = tmp_path / "clone") -> str:
        identity = ("-c", "user.name=Ada", "-c", "user.email=ada@example.com", "-c", "commit.gpgsign=false")
        told = subprocess.run(["git", *identity, *words], cwd=at, capture_output=True, text=True, check=True)
        return told.stdout.strip()

    root = tmp_path / "clone"
    (root / "tests" / "bench").mkdir(parents=True)
    (root / "dataplane").mkdir()
    git("init", "-q", "-b", "main")
    for number in range(3):
        (root / "dataplane" / "pod.py").write_text(f"VERSION = {number}\n")
        (root / "tests" / "bench" / "guard.py").write_text(f"VERSION = {number}\n")
        git("add", ".")
        git("commit", "-qm", f"change {number}")
    git("tag", "first", "HEAD~2")
    return git


def test_the_base_is_laid_out_with_the_present_bench(clone: Callable[..., str], tmp_path: Path) -> None:
    history = History(tmp_path / "clone")
    commit = history.find("first")
    assert commit == clone("rev-parse", "HEAD~2")
    tree = history.lay_out(commit, tmp_path / "bases")
    assert (tree / "dataplane" / "pod.py").read_text() == "VERSION = 0\n"
    assert (tree / "tests" / "bench" / "guard.py").read_text() == "VERSION = 2\n"
    (tmp_path / "clone" / "tests" / "bench" / "guard.py").write_text("VERSION = 3\n")
    assert history.lay_out(commit, tmp_path / "bases") == tree
    assert (tree / "tests" / "bench" / "guard.py").read_text() == "VERSION = 3\n"


def test_a_base_that_is_not_there_is_missed_loudly(clone: Callable[..., str], tmp_path: Path) -> None:
    with pytest.raises(Incomparable, match=r"lacks the base, .*GUARD_BASE"):
        History(tmp_path / "clone").find(BASE)


def test_a_base_on_another_branch_is_none(clone: Callable[..., str], tmp_path: Path) -> None:
    clone("checkout", "-q", "-b", "other", "first")
    clone("commit", "-q", "--allow-empty", "-m", "elsewhere")
    clone("checkout", "-q", "main")
    with pytest.raises(Incomparable, match="no ancestor of HEAD"):
        History(tmp_path / "clone").find("other")


def test_a_shallow_clone_fetches_the_one_commit(
    clone: Callable[..., str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    origin, first = tmp_path / "clone", clone("rev-parse", "first")
    clone("config", "uploadpack.allowAnySHA1InWant", "true")
    clone("clone", "-q", "--depth=1", origin.as_uri(), str(tmp_path / "shallow"), at=tmp_path)
    assert History(tmp_path / "shallow").find(first) == first
    assert "could not be checked" in capsys.readouterr().err


def test_without_a_clone_there_is_nothing_to_compare_with(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="not a git clone"):
        History(tmp_path).find("HEAD")


def test_the_interpreter_is_shared_where_the_same_packages_are_locked(tmp_path: Path) -> None:
    for name in ("base", "present"):
        (tmp_path / name / lineage.LOCK).parent.mkdir(parents=True)
        (tmp_path / name / lineage.LOCK).write_text("uvloop==0.23.0\n")
    assert lineage.interpreter(tmp_path / "base", tmp_path / "present") == Path(sys.executable)


def test_other_packages_are_installed_beside_the_base(tmp_path: Path) -> None:
    for name, version in (("base", "0.22"), ("present", "0.23")):
        (tmp_path / name / lineage.LOCK).parent.mkdir(parents=True)
        (tmp_path / name / lineage.LOCK).write_text(f"uvloop=={version}\n")
    setup = tmp_path / "base" / "deploy" / "setup.sh"
    setup.write_text('#!/bin/sh\necho "$1 by $PYTHON" > told\n')
    setup.chmod(0o755)
    assert lineage.interpreter(tmp_path / "base", tmp_path / "present") == tmp_path / "base/.venv/bin/python"
    assert (tmp_path / "base" / "told").read_text() == f"dev by {sys.executable}\n"
    setup.write_text("#!/bin/sh\nexit 1\n")
    with pytest.raises(Incomparable, match="could not be installed"):
        lineage.interpreter(tmp_path / "base", tmp_path / "present")


@pytest.mark.parametrize(("ci", "status"), [("true", 1), ("", 0)])
def test_nothing_judged_is_red_in_ci_and_loud_elsewhere(
    ci: str, status: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def lacking(history: History, name: str) -> str:
        raise Incomparable(f"this clone lacks the base, {name}")

    monkeypatch.setattr(History, "find", lacking)
    monkeypatch.setattr(sys, "argv", ["guard"])
    monkeypatch.setattr(guard, "tidy_when_told_to_end", lambda: None)
    monkeypatch.setenv("CI", ci)
    monkeypatch.setenv("GUARD_BASE", "0" * 40)
    assert guard.main() == status
    assert "NOTHING WAS JUDGED: this clone lacks the base, 000" in capsys.readouterr().err
