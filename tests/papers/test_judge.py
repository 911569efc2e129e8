"""The judge turns red: wrong lines of every kind, put into a paper, and right ones beside them."""

from __future__ import annotations

import pytest

from tests.papers.house import house
from tests.papers.judge import Judge
from tests.papers.paper import Paper, anchor


def complaints(text: str, path: str = "README.md") -> str:
    return "\n".join(str(complaint) for complaint in Judge(house(), Paper(path, text)).complaints())


WRONG = (
    # paths and links
    ("README.md", "in `dataplane/core/snapshots.py`", "does not exist"),
    ("README.md", "[the map](docs/map.md)", "leads nowhere"),
    ("README.md", "[x](ARCHITECTURE.md#wrods)", "has no section #wrods"),
    ("tests/README.md", "`browsers/`", "does not exist"),
    ("deploy/README.md", "`supervisors.py`", "does not exist"),
    ("CONTRIBUTING.md", "`controlplane/console/admin/`", "does not exist"),
    ("controlplane/README.md", "`fleet/catalog.py`", "does not exist"),
    ("controlplane/README.md", "`fleet/catalogue.py`", "perhaps controlplane/fleet/state/catalogue.py"),
    ("deploy/reference/performance.md", "in `proxy/pipeline.py`", "perhaps dataplane/proxy/pipeline.py"),
    ("deploy/reference/performance.md", "[x](../bench/README.md)", "leads nowhere"),
    ("dataplane/link/__init__.py", "`sessions.py` and `spools`", "does not exist"),
    ("dataplane/link/__init__.py", "`Spools` in `spool.py`", "not defined in spool.py"),
    ("README.md", "A word follows the client (README, clients).", "no section about"),
    # a name in a file
    ("CONTRIBUTING.md", "`dataplane/core/snapshot.py` (`ProviderKind`)", "perhaps dataplane/core/rows.py"),
    ("CONTRIBUTING.md", "a word in `ProviderKind` (`dataplane/core/kinds.py`)", "perhaps dataplane/core/rows.py"),
    ("ARCHITECTURE.md", "`LeaseBook` in `dataplane/core/money/lessor.py`", "dataplane/core/money/lease_book.py"),
    ("dataplane/README.md", "`spool_full` in `proxy/provider/pool.py`", "not defined in proxy/provider/pool.py"),
    # names
    ("ARCHITECTURE.md", "`LeaseBooks`", "perhaps LeaseBook"),
    ("dataplane/README.md", "`core.secret.Secrets`", "neither a module nor a name"),
    ("ARCHITECTURE.md", "`dataplane.cores`", "neither a module nor a name"),
    ("controlplane/budgets/README.md", "`standing(budget, member, at=None)`", "takes no member"),
    ("controlplane/budgets/README.md", "## Reads (`queries.py`)\n\n| read |\n|---|\n| `create_budget` |", "actions.py"),
    ("controlplane/README.md", "`change_sets()`", "defined nowhere"),
    ("protos/README.md", "Five flows: `Watch`, `Resolves`", "defined nowhere"),
    ("README.md", "| `AIGATEWAY_SPOOL_DIRECTORY` |", "defined nowhere"),
    # commands
    ("README.md", "`make demos`", "there is no `make demos`"),
    ("README.md", "```\nmake tests   # the suite\n```", "there is no `make tests`"),
    ("tests/bench/README.md", "`make bench ARGS=\"--soaked 30\"`", "--soaked"),
    ("tests/README.md", "`python -m tests.bench.budget`", "no module tests.bench.budget"),
    ("tests/bench/README.md", "`python -m tests.bench.budgets --fault`", "--fault"),
    ("controlplane/README.md", "`manage.py rotate_roots`", "no command rotate_roots"),
    ("controlplane/README.md", "`manage.py pki pods`", "knows no pods"),
    ("controlplane/README.md", "`manage.py resettle --write`", "knows no --write"),
    ("controlplane/README.md", "`uvicorn controlplane.asgi:app`", "defines no app"),
    ("dataplane/README.md", "`--threads N`", "--threads"),
    # what is said over the wire
    ("README.md", "`GET /v1/budgets`", "has this route"),
    ("README.md", "`POST /v1/budget`", "has this route"),
    ("README.md", "`/startup`", "has this route"),
    ("README.md", "`GET /api/v1/virtualkeys`", "has this route"),
    ("README.md", "`X-Langwatch-Tag-Names`", "no header"),
    ("README.md", "`aigateway_request_total`", "perhaps aigateway_requests_total"),
    ("dataplane/README.md", "503 `spool_is_full`", "defined nowhere"),
    # what recipes set
    ("README.md", "`CLAUDE_CODE_MAX_RETRIES=5`", "another value"),
    ("README.md", "`~/.codex/settings.toml`", "in no recipe"),
    ("README.md", "`OPENAI_API_BASES`", "defined nowhere"),
    # anything else
    ("README.md", "`frobnicate the gateway`", "names nothing"),
)  # fmt: skip


@pytest.mark.parametrize(("paper", "text", "words"), WRONG)
def test_a_wrong_line_is_a_complaint_that_says_what_is_wrong(paper: str, text: str, words: str) -> None:
    assert words in complaints(text, paper)


RIGHT = (
    ("README.md", "[x](ARCHITECTURE.md#words), [y](#z)\n\n## Z"),
    ("tests/README.md", "[x](bench/README.md), [y](../README.md#how-it-works)"),
    ("CONTRIBUTING.md", "`ProviderKind` (`dataplane/core/rows.py`), `ChannelKind` in `controlplane/alerts/models.py`"),
    ("dataplane/README.md", "`core.secret.Secret`, `proxy/pipeline.py`, `--workers N`, `spool_full`, `/metrics`"),
    ("controlplane/README.md", "`manage.py migrate`, `manage.py pki pod --name`, `actions.revoke(key, …)`"),
    (
        "README.md",
        "`GET /v1/budget`, `POST /api/v1/virtual-keys`, `/admin/`, `Retry-After: 1`, `aigateway_spool_bytes`",
    ),
    ("README.md", "`PODS=3 make demo`, `python -m tests.bench.profile [LOAD]`, `AIGATEWAY_LISTEN`"),
    ("tests/README.md", "```\nmake test\n```\n`controlplane/<app>`, `test_*.py`"),
)


@pytest.mark.parametrize(("paper", "text"), RIGHT)
def test_a_right_line_is_none(paper: str, text: str) -> None:
    assert complaints(text, paper) == ""


def test_a_complaint_says_where() -> None:
    assert complaints("one\n\ntwo `nothing/of/ours.py`").startswith("README.md:3: ")


@pytest.mark.parametrize(
    ("heading", "slug"),
    [("What it is not", "what-it-is-not"), ("Upgrade, backup, restore", "upgrade-backup-restore"), ("`x` (y)", "x-y")],
)
def test_an_anchor_is_githubs(heading: str, slug: str) -> None:
    assert anchor(heading) == slug
