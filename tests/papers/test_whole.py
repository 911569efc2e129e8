"""Nothing is in no paper: commands, make targets, programs, headers, kinds; and figures in prose are the code's."""

from __future__ import annotations

import re

import pytest

from controlplane.alerts.models import ChannelKind
from controlplane.budgets import statements
from controlplane.budgets.models import ScopeKind
from controlplane.fleet import database
from controlplane.fleet.calls import hold_writer
from controlplane.fleet.register import queries
from controlplane.fleet.state import replica
from controlplane.postgresql import waits
from controlplane.web import deadline
from dataplane.core.errors import CATALOGUE, Code
from dataplane.core.money.lease_rows import LessorRules
from dataplane.core.money.slices import HoldRules
from dataplane.dialects import survey
from dataplane.host import workers
from dataplane.host.exits import Exit
from dataplane.link import session, spool
from dataplane.proxy import server
from dataplane.proxy.client import door
from dataplane.proxy.limits import Limits
from dataplane.proxy.provider import reading
from deploy import routes
from tests.papers.house import house

HOUSE = house()
EVERYTHING = "\n".join(paper.text for paper in HOUSE.papers)


@pytest.mark.parametrize("command", sorted(HOUSE.own_commands))
def test_every_command_of_ours_is_in_a_paper(command: str) -> None:
    assert re.search(rf"manage\.py {command}\b", EVERYTHING), f"manage.py {command} is in no paper"


@pytest.mark.parametrize("target", sorted(HOUSE.make_targets))
def test_every_make_target_is_in_a_paper(target: str) -> None:
    assert re.search(rf"\bmake (?:[\w-]+ )?{target}\b(?!-)", EVERYTHING), f"make {target} is in no paper"


def programs() -> list[str]:
    found = []
    for file in HOUSE.files:
        if file.endswith("/__main__.py"):
            found.append(file.removesuffix("/__main__.py").replace("/", "."))
        elif re.fullmatch(r"tests/.*\.py", file) and '\nif __name__ == "__main__"' in HOUSE.text(file):
            found.append(file.removesuffix(".py").replace("/", "."))
    return sorted(found)


@pytest.mark.parametrize("program", programs())
def test_every_program_is_in_a_paper_or_behind_a_command(program: str) -> None:
    """A make target starts it, or another program does."""
    started = any(program in module.texts for module in HOUSE.modules.values())
    said = rf"-m {re.escape(program)}(?![\w.])"
    assert re.search(said, EVERYTHING) or re.search(said, HOUSE.text("Makefile")) or started, (
        f"python -m {program} is in no paper"
    )


def test_every_header_of_ours_is_in_the_table_of_routes() -> None:
    code = [HOUSE.text(file) for file in HOUSE.modules if file.startswith("dataplane/")]
    used = set(re.findall(r"[\"'f(]x-langwatch-([a-z][a-z-]+[a-z])", "\n".join(code).lower()))
    used |= set(re.findall(r"x-langwatch-([a-z][a-z-]+[a-z]): \{", "\n".join(code).lower()))
    listed = {name.lower().removeprefix("x-langwatch-") for name in (*routes.READ, *routes.WRITTEN) if "Lang" in name}
    assert used == listed


def test_whom_alerts_tell_is_whom_the_papers_say() -> None:
    for paper in ("README.md", "controlplane/README.md"):
        text = " ".join(HOUSE.text(paper).split())
        for label in ChannelKind.labels:
            assert label.lower() in text.lower(), f"{paper} does not name the channel {label}"


def test_what_a_budget_can_be_set_on_is_what_the_readme_says() -> None:
    [said] = re.findall(r"a limit on an? ([\w, ]+) is not overspent", " ".join(HOUSE.text("README.md").split()))
    words = {"principal": "person", "virtual_key": "key"}
    assert set(re.split(r", | or ", said)) == {words.get(kind, kind) for kind in ScopeKind.values}


@pytest.mark.parametrize("code", list(Code))
def test_what_of_a_key_an_error_sends_people_to_is_a_field_of_keys(code: Code) -> None:
    fields = HOUSE.modules["controlplane/keys/models.py"].fields["VirtualKey"]
    for words in re.findall(r"the key's ([a-z ]+)", CATALOGUE[code].who_can_help):
        stem = words.split()[-1].rstrip("s")
        assert any(stem in name for name in fields), f"{code}: a key has no {words}; it has {', '.join(fields)}"


FRESH_S = session.FRESHNESS_BOUND_MS // 1000
FIGURES = (
    ("README.md", f"refuse new requests after {FRESH_S} s"),
    ("ARCHITECTURE.md", f"Freshness older than {FRESH_S} s"),
    ("ARCHITECTURE.md", f"A lost control plane stops traffic after {FRESH_S} s"),
    ("ARCHITECTURE.md", f"A heartbeat every {session.HEARTBEAT_MS // 1000} s"),
    ("ARCHITECTURE.md", f"until {FRESH_S} s after the last heartbeat"),
    ("ARCHITECTURE.md", f"end at {Limits().stale_cut_ms // 1000} s"),
    ("ARCHITECTURE.md", f"for {LessorRules().ttl_ms // 1000} s after the last report that was answered"),
    ("ARCHITECTURE.md", f"waits at most {HoldRules().patience_ms // 1000} s"),
    ("ARCHITECTURE.md", f"share of {HoldRules().outage_percent} % of the limit"),
    ("ARCHITECTURE.md", f"unreachable after {queries.SILENT_AFTER.seconds} s, and count as failed closed"),
    ("ARCHITECTURE.md", f"failed closed {queries.DEFAULT_BOUND_S} s after their last heartbeat"),
    ("ARCHITECTURE.md", f"not read for {replica.FRESH_S:.0f} s"),
    ("ARCHITECTURE.md", f"has tried for {hold_writer.PATIENCE_S:.0f} s"),
    ("ARCHITECTURE.md", f"within {deadline.ANSWER_S:.0f} s"),
    (
        "ARCHITECTURE.md",
        f"after {Limits().connect_s} s without a connection or {Limits().first_byte_s} s without a first",
    ),
    ("ARCHITECTURE.md", f"beyond {Limits().upstream_line:,} in line for it"),
    ("ARCHITECTURE.md", f"or {Limits().idle_s} s of silence"),
    ("ARCHITECTURE.md", f"starts again after {workers.FIRST_PAUSE_S} s"),
    ("ARCHITECTURE.md", f"{(LessorRules().ttl_ms + LessorRules().grace_ms) // 1000} s after its last report"),
    ("ARCHITECTURE.md", f"free after {LessorRules().suspense_ms // 60_000} min more"),
    ("ARCHITECTURE.md", f"normally the last {spool.SYNC_S} s"),
    ("deploy/reference/performance.md", f"through {server._ACCEPTED_AT_ONCE} descriptors of one socket"),
    ("dataplane/README.md", f"less than {FRESH_S} s ago"),
    ("dataplane/README.md", f"a turn of the loop begins {door.AT_ONCE} requests"),
    ("dataplane/README.md", f"has waited {Limits().line_s} s"),
    ("dataplane/README.md", f"or {Limits().upstream_line:,} requests in line"),
    ("dataplane/README.md", f"and {spool.MEMORY_BYTES // 1024**2} MiB of them"),
    ("dataplane/README.md", f"normally the last {spool.SYNC_S} s"),
    ("dataplane/README.md", f"({workers.FIRST_PAUSE_S} s, doubling to {workers.LONGEST_PAUSE_S:.0f} s)"),
    (
        "dataplane/README.md",
        f"{Exit.OK:d} as asked; {Exit.CANNOT_START:d} could not start; {Exit.BAD_SETTINGS:d} settings",
    ),
    ("dataplane/README.md", f"{Exit.UNDELIVERED:d} as asked, but records in memory were not delivered"),
    ("ARCHITECTURE.md", f"given up {waits.GRACE_S:.0f} s after its statement's time"),
    ("ARCHITECTURE.md", f"which is {database.STATEMENT_S:.0f} s here"),
    ("ARCHITECTURE.md", f"{statements.LOCK_MS / 1000:g} s are waited"),
    ("ARCHITECTURE.md", f"after {hold_writer.LOCKED_S:g} s the outage rule"),
    ("ARCHITECTURE.md", f"more than {survey.MAX_VALUES:,} values"),
    ("SECURITY.md", f"reads of {reading.READ_BYTES // 1024} KiB"),
)


@pytest.mark.parametrize(("paper", "words"), FIGURES)
def test_a_figure_in_a_sentence_is_the_codes(paper: str, words: str) -> None:
    assert words in " ".join(HOUSE.text(paper).split()), f"{paper} should say: {words}"


@pytest.mark.parametrize(("paper", "lines"), [("README.md", 150), ("ARCHITECTURE.md", 120)])
def test_a_paper_for_newcomers_is_short(paper: str, lines: int) -> None:
    assert len(HOUSE.text(paper).splitlines()) <= lines


def test_code_names_no_paper_and_no_table_that_is_not_there() -> None:
    root = HOUSE.paper("README.md").path.parent
    for file in (*HOUSE.modules, "Makefile", "protos/fleet.proto"):
        text = HOUSE.text(file)
        for name in re.findall(r"(?<![\w*])[\w./-]*\w\.md\b", text) if not file.startswith("tests/papers/") else ():
            assert HOUSE.find(name.lstrip("./"), root), f"{file} names {name}"
        if not file.startswith("tests/"):
            assert not re.search(r"(?:see|table of variables in) the README|see README", text), f"{file} says no file"
