"""CONTRIBUTING's recipes, followed on a copy of the tree: what they name is enough, and what is left out says so."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from dataplane.dialects.dialect import DialectName
from tests.papers.house import house
from tests.papers.paper import spans_of
from tests.papers.tree import Tree

HOUSE = house()
pytestmark = pytest.mark.slow


def recipe(name: str) -> str:
    """The text of a recipe, from its name in bold to the next one."""
    text = HOUSE.text("CONTRIBUTING.md")
    return re.split(r"\n\n|\*\*[A-Z]", text.split(f"**{name}.**")[1])[0]


def places(name: str) -> set[str]:
    return {span for span in spans_of(recipe(name)) if "/" in span or span.endswith(".md")}


def named(file: str, name: str) -> bool:
    """The recipe names the file, or the folder that it is to be put into, or a command that makes it."""
    if re.search(r"/migrations/", file):
        return bool(re.search(r"`make [a-z ]*\bmigrations\b", recipe(name)))
    if file == "controlplane/openapi.yaml":
        return bool(re.search(r"`make [a-z ]*\bopenapi\b", recipe(name)))
    if file == "README.md":
        return "README" in recipe(name)
    return any(file == place or (place.endswith("/") and file.startswith(place)) for place in places(name))


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path)


# ---- where siblings stand, the recipe points ------------------------------------------------------------------------

SIBLINGS = (
    ("A provider kind", r"anthropic_compatible", ()),
    ("An alert channel", r"pagerduty", ()),
    ("A coding CLI", r"qwen_code|qwen-code", ()),
)


@pytest.mark.parametrize(("name", "sibling", "apart"), SIBLINGS, ids=[name for name, *_ in SIBLINGS])
def test_a_recipe_names_every_file_in_which_a_sibling_stands(name: str, sibling: str, apart: tuple[str, ...]) -> None:
    code = [
        file
        for file in HOUSE.files
        if re.match(r"(?:controlplane|dataplane|deploy|tests/clients)/.*\.(?:py|js|yaml)$", file)
    ]
    there = [file for file in code if re.search(sibling, HOUSE.text(file), re.IGNORECASE)]
    assert len(there) > 3
    forgotten = [file for file in there if not named(file, name) and file not in apart]
    assert not forgotten, f"{name}: CONTRIBUTING does not name {forgotten}"


@pytest.mark.parametrize(("name", "sibling", "apart"), SIBLINGS, ids=[name for name, *_ in SIBLINGS])
def test_every_file_that_a_recipe_names_holds_a_sibling(name: str, sibling: str, apart: tuple[str, ...]) -> None:
    always = recipe(name).split("Where it has")[0]  # what comes after is for kinds that are special in that way
    for place in {span for span in spans_of(always) if "/" in span}:
        files = HOUSE.below([place.rstrip("/")])
        assert any(re.search(sibling, file + HOUSE.text(file), re.IGNORECASE) for file in files), (
            f"{place} holds no sibling"
        )


# ---- followed ------------------------------------------------------------------------------------------------------


def test_a_provider_kind(tree: Tree) -> None:
    tree.insert("dataplane/core/rows.py", 'ANTHROPIC_COMPATIBLE = "anthropic_compatible"', '    MISTRAL = "mistral"')
    assert "mistral: no row in DIALECTS of dataplane/core/kinds.py" in tree.breaks("-c", "import dataplane.core.kinds")

    chat = '    ProviderKind.MISTRAL: frozenset({"openai_chat"}),'
    tree.insert("dataplane/core/kinds.py", 'ProviderKind.GEMINI: frozenset({"gemini"}),', chat)
    assert "mistral: no row in NAMES of dataplane/core/kinds.py" in tree.breaks("-c", "import dataplane.core.kinds")
    globs = '    ProviderKind.MISTRAL: GlobSet(("mistral*",)),'
    tree.insert("dataplane/core/kinds.py", 'ProviderKind.ANTHROPIC: GlobSet(("claude*",)),', globs)

    assert "dataplane/providers/registry.py" in tree.breaks("-c", "import dataplane.proxy.pipeline")
    tree.copy("dataplane/providers/openai.py", "dataplane/providers/mistral.py", OPENAI="MISTRAL", OpenAI="Mistral")
    line = "from dataplane.providers.openai import OPENAI, OPENAI_COMPATIBLE"
    tree.insert("dataplane/providers/registry.py", line, "from dataplane.providers.mistral import MISTRAL")
    row = "    ProviderKind.MISTRAL: MISTRAL,"
    tree.insert("dataplane/providers/registry.py", "ProviderKind.OPENAI: OPENAI,", row)

    assert "controlplane/providers/kinds/__init__.py" in tree.breaks("manage.py", "check")
    slices = "controlplane/providers/kinds"
    tree.write(f"{slices}/mistral.py", MISTRAL)
    line = "from controlplane.providers.kinds.openai import OPENAI, OPENAI_COMPATIBLE"
    tree.insert(f"{slices}/__init__.py", line, "from controlplane.providers.kinds.mistral import MISTRAL")
    tree.insert(f"{slices}/__init__.py", "ProviderKind.OPENAI: OPENAI,", row)

    guard = ("-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/providers/test_kinds.py")
    left_out = tree.breaks(*guard)
    tables = (
        (
            "PRICES_OF_KIND",
            "dataplane/core/money/prices.py",
            '"anthropic_compatible": "",',
            '    "mistral": "mistral",',
        ),
        ("HIDING", "dataplane/core/money/estimates.py", '"anthropic": _NO_NAMES,', '    "mistral": _NO_NAMES,'),
        ("PROVIDER_NAMES", "dataplane/telemetry/spans.py", '"openai": "openai",', '    "mistral": "mistral_ai",'),
    )
    for table, file, after, entry in tables:
        assert f"{table} of {file}" in left_out
        tree.insert(file, after, entry)
    base = '    ProviderKind.MISTRAL: "https://api.mistral.ai",'
    tree.insert("tests/providers/test_upstream.py", 'ProviderKind.OPENAI: "https://api.openai.com",', base)

    assert "providers/migrations" in tree.breaks("-m", "deploy.generate", "migrations")
    tree.works("-m", "deploy.generate", "makemigrations")
    tree.works("-m", "deploy.generate", "migrations")
    tree.works("-m", "deploy.generate", "openapi")
    tree.works("-m", "deploy.generate", "--check")
    tree.tests("tests/providers")
    tree.works("-c", ASKS_MISTRAL)
    assert all(named(file, "A provider kind") for file in tree.edited), tree.edited


MISTRAL = '''\
"""Mistral's API."""

from controlplane.providers.kinds.kind import AdminKind, bearer, list_of_models
from dataplane.core.snapshot import ProviderKind

MISTRAL = AdminKind(
    ProviderKind.MISTRAL,
    label="Mistral",
    base_url="https://api.mistral.ai",
    probe=list_of_models("v1/models", bearer),
    base_url_help="With or without /v1.",
    credential_help="An API key of console.mistral.ai.",
)
'''

ASKS_MISTRAL = """
from dataplane.core.routing import resolve
from dataplane.dialects.dialect import Operation
from dataplane.providers.upstream import upstream_request
from dataplane.core.secret import Secret
from dataplane.core.snapshot import ProviderKind
from tests.core import build
kind = ProviderKind("mistral")
provider = build.provider(kind=kind, base_url="https://api.mistral.ai", credential=Secret("sk-1"))
key = build.key()
rows = build.snapshot(build.organization(), build.project(), provider, key)
candidate = resolve(rows, key, "openai_chat", "mistral-large")
request = upstream_request(candidate, Operation.CHAT, "/chat/completions", "", (), version="v1")
assert request.host == "api.mistral.ai" and request.target == b"/v1/chat/completions", request
assert (b"Authorization", b"Bearer sk-1") in request.headers
"""


def test_an_alert_channel(tree: Tree) -> None:
    tree.insert("controlplane/alerts/models.py", 'SLACK = "slack", "Slack"', '    TEAMS = "teams", "Teams"')
    assert "alert channel teams: needs" in tree.breaks("manage.py", "check")
    folder = "controlplane/alerts/channels"
    tree.copy(f"{folder}/slack/__init__.py", f"{folder}/teams/__init__.py", slack="teams", Slack="Teams")
    line = "from controlplane.alerts.channels.slack import Slack"
    tree.insert(f"{folder}/__init__.py", line, "from controlplane.alerts.channels.teams import Teams")
    text = (tree.root / folder / "__init__.py").read_text()
    tree.write(f"{folder}/__init__.py", text.replace("PagerDuty(), Webhook()", "PagerDuty(), Teams(), Webhook()"))
    tree.works("manage.py", "makemigrations", "alerts")
    tree.works("-m", "deploy.generate", "migrations")
    tree.works("-m", "deploy.generate", "openapi")
    assert "- teams" in (tree.root / "controlplane/openapi.yaml").read_text()
    tree.works("manage.py", "check")
    tree.tests("tests/controlplane/alerts/test_channels.py", "-k", "every_kind")
    assert all(named(file, "An alert channel") for file in tree.edited), tree.edited


def test_a_coding_cli(tree: Tree) -> None:
    detection = '    ("kode", re.compile(r"Kode/([\\w.\\-]+)")),'
    tree.insert("dataplane/dialects/clients.py", '(QWEN_CODE, re.compile(r"QwenCode/([\\w.\\-]+)")),', detection)
    agent = '    (b"Kode/0.24.4 (linux; x64)", "kode", "0.24.4"),'
    tree.insert("tests/dialects/test_clients.py", '(b"QwenCode/0.24.4 (linux; x64)", "qwen_code", "0.24.4"),', agent)
    metrics = (tree.root / "dataplane/telemetry/metrics.py").read_text()
    tree.write("dataplane/telemetry/metrics.py", metrics.replace('"qwen_code", ', '"qwen_code", "kode", ', 1))
    tree.insert("controlplane/pages/wording.py", '"qwen_code": "Qwen Code",', '    "kode": "Kode",')
    recipes = "controlplane/pages/recipes"
    tree.copy(f"{recipes}/qwen_code.py", f"{recipes}/kode.py", **{'"qwen-code"': '"kode"', "Qwen Code": "Kode"})
    tree.insert(f"{recipes}/__init__.py", "gemini_cli,", "    kode,")
    tree.insert(f"{recipes}/__init__.py", "qwen_code.RECIPE,", "    kode.RECIPE,")
    changes = {"qwen-code": "kode", "qwen_code": "kode", "QWEN_CODE": "KODE", "Qwen Code": "Kode"}
    tree.copy("tests/clients/qwen_code.py", "tests/clients/kode.py", **changes)
    registry = (tree.root / "tests/clients/registry.py").read_text()
    registry = registry.replace("QWEN_CODE, CLINE", "QWEN_CODE, KODE, CLINE")
    line = "from tests.clients.opencode import OPENCODE"
    tree.write("tests/clients/registry.py", registry.replace(line, f"from tests.clients.kode import KODE\n{line}"))
    assert "Kode" in tree.breaks(
        "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/papers/test_tables.py", "-k", "readme"
    )
    row = "| Kode | 0.24.4 | `OPENAI_BASE_URL`, `OPENAI_API_KEY`, `OPENAI_MODEL` |"
    before = next(line for line in (tree.root / "README.md").read_text().splitlines() if line.startswith("| Qwen Code"))
    tree.insert("README.md", before, row)
    tree.tests("tests/papers/test_tables.py", "-k", "readme or versions")
    tree.tests("tests/dialects/test_clients.py", "tests/telemetry/test_metrics.py")
    tree.works("-c", RECOGNIZES_KODE)
    assert all(named(file, "A coding CLI") for file in tree.edited), tree.edited


RECOGNIZES_KODE = """
from controlplane.pages.wording import client_name
from dataplane.dialects.clients import detect
from dataplane.telemetry.metrics import CLIENTS
found = detect({b"user-agent": b"Kode/1.2"})
assert (found.name, found.version) == ("kode", "1.2") and "kode" in CLIENTS and client_name("kode") == "Kode"
"""


def test_a_setting_a_metric_and_an_error_code(tree: Tree) -> None:
    tree.insert(
        "dataplane/settings.py",
        "# Where clients come in.",
        '    kittens: int = setting(3, "kittens", "How many kittens.")',
    )
    line = 'log_level: LogLevel = Field(default="info", description="debug, info, warning or error.")'
    tree.insert(
        "controlplane/environment.py", line, '    puppies: int = Field(default=4, description="How many. Puppies.")'
    )
    line = "CATALOGUE: Final = ("
    tree.insert(
        "dataplane/telemetry/metrics.py", line, '    Metric("kittens_total", MetricKind.COUNTER, "Kittens seen."),'
    )
    tree.insert("dataplane/core/errors.py", 'INTERNAL_ERROR = "internal_error"', '    NO_KITTENS = "no_kittens"')
    entry = '        Code.NO_KITTENS: Entry(503, True, "No kittens.", "wait"),'
    tree.breaks("-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/core/test_errors.py")
    errors = (tree.root / "dataplane/core/errors.py").read_text()
    last = "        Code.INTERNAL_ERROR: Entry("
    tree.write("dataplane/core/errors.py", errors.replace(last, f"{entry}\n{last}", 1))
    stale = tree.breaks("-m", "deploy.generate", "--check")
    assert "settings.md is out of date: make docs" in stale
    tree.works("-m", "deploy.generate", "tables")
    tree.works("-m", "deploy.generate", "openapi")
    tree.works("-m", "deploy.generate", "--check")
    reference = tree.root / "deploy/reference"
    assert "| `AIGATEWAY_KITTENS` | `3` | kittens | How many kittens. |" in (reference / "settings.md").read_text()
    assert "| `AIGATEWAY_PUPPIES` | `4` | How many. Puppies. |" in (reference / "settings.md").read_text()
    assert "| `aigateway_kittens_total` | counter |" in (reference / "metrics.md").read_text()
    assert "| `no_kittens` | 503 | yes | No kittens. | wait |" in (reference / "errors.md").read_text()
    tree.tests("tests/core/test_errors.py", "tests/telemetry/test_metrics.py", "tests/telemetry/test_settings.py")
    told = {file for name in ("A setting", "A metric", "An error code") for file in tree.edited if named(file, name)}
    assert told == tree.edited


def test_something_that_pods_must_know(tree: Tree) -> None:
    proto, rows, pushed = "protos/fleet.proto", "dataplane/core/rows.py", "dataplane/core/pushed.py"
    snapshot, strategies = "dataplane/core/snapshot.py", "tests/link/strategies.py"
    models, compiler = "controlplane/keys/models.py", "controlplane/fleet/state/compile.py"

    tree.replace(proto, "  reserved 9 to 15; ", "  RESOURCE_KIND_TOY = 9;\n  reserved 10 to 15;")
    tree.replace(proto, "  reserved 10 to 16; ", "  reserved 11 to 16; ")
    tree.insert(proto, "Budget budget = 9;", "    Toy toy = 10;")
    tree.append(proto, TOY_MESSAGE)
    tree.append(rows, TOY_ROW)
    tree.replace(pushed, "    ScopeKind,\n    VirtualKey,\n", "    ScopeKind,\n    Toy,\n    VirtualKey,\n")
    last = "        PushedKind(\n            NotUnderstood,"
    tree.replace(pushed, last, TOY_PUSHED + last)
    assert "AttributeError: toy" in tree.breaks("-c", "import dataplane.wire.rows")  # without `make protos`
    tree.script("deploy/protos.sh")

    left_out = tree.breaks("-c", GUARDS)
    assert "test_every_registered_kind_is_declared_as_an_attribute_of_snapshots" in left_out
    assert "KeyError: <class 'dataplane.core.rows.Toy'>" in left_out  # in `by_kind`
    tree.insert(snapshot, "budgets: Mapping[str, Budget]", "    toys: Mapping[str, Toy]")
    tree.replace(snapshot, "    ScopeKind,\n    Unpriced,\n", "    ScopeKind,\n    Toy,\n    Unpriced,\n")
    line = "from dataplane.core.money.windows import WindowKind"
    tree.insert(strategies, line, "from dataplane.core.rows import Toy")
    row = "    Toy: st.builds(Toy, texts, texts, texts, st.lists(int32, max_size=2).map(tuple), int64),"
    tree.insert(strategies, "by_kind: dict[type[Row], st.SearchStrategy[Any]] = {", row)
    tree.works("-c", GUARDS)

    tree.replace(models, "class ModelAlias(ConfigModel):", f"{TOY_MODEL}\n\nclass ModelAlias(ConfigModel):")
    left_out = tree.breaks("-c", COMPILER)
    assert "toy: no word in ResourceKind of controlplane/changes/models.py" in left_out
    assert "toy: no Source in controlplane/fleet/state/compile.py" in left_out
    tree.insert("controlplane/changes/models.py", 'BUDGET = "budget"', '    TOY = "toy"')
    tree.replace(compiler, "import KeySecret, ModelAlias, VirtualKey", "import KeySecret, ModelAlias, Toy, VirtualKey")
    tree.replace(compiler, "def _texts(", f"{TOY_COMPILED}def _texts(")
    source = "    Source(core.Toy, Toy.objects.all, _toy, _bare_toy),"
    tree.insert(compiler, "Source(core.Budget, budgets, budget, bare_budget, budget_cover),", source)
    left_out = tree.breaks("-c", WITHOUT_PUSHED + "import dataplane.wire.rows")  # neither pod nor fleet server starts
    assert "toy: no PushedKind in dataplane/core/pushed.py" in left_out
    assert "Toy: no touches in controlplane.keys.models" in tree.breaks("-c", COMPILER)
    tree.replace(models, TOY_MODEL, TOY_MODEL + TOY_TOUCHES)
    priced = "ResourceKind.MODEL_ALIAS, ResourceKind.PRICE_LIST),"
    tree.insert(
        "tests/controlplane/fleet/test_compile.py", f"*(ResourceKind.PROVIDER, {priced}", "    ResourceKind.TOY,"
    )

    assert "changes/migrations" in tree.breaks("-m", "deploy.generate", "migrations")
    tree.works("-c", SENDS_A_TOY)
    theirs = tree.edited - {models}  # that one by the recipe of a configuration model
    assert all(named(file, "Something that pods must know") for file in theirs), theirs


TOY_MESSAGE = """
message Toy {
  string id = 1;
  string organization_id = 2;
  string colour = 3;
  repeated int32 sizes = 4;
}
"""

TOY_ROW = """

@dataclass(frozen=True, slots=True)
class Toy:
    id: str
    organization_id: str
    colour: str
    sizes: tuple[int, ...]
    revision: int
"""

TOY_PUSHED = """\
        PushedKind(
            Toy,
            "toys",
            "toy",
            references={OWNER: Organization},
            in_view=True,
        ),
"""

# Tests that hold the places of a kind together, called as they are; says of each why it fails.
GUARDS = """
import sys, traceback
from dataplane.core.rows import Toy
from tests.core import test_pushed
from tests.wire import test_rows
failed = 0
for guard, *arguments in (
    (test_pushed.test_every_registered_kind_is_declared_as_an_attribute_of_snapshots,),
    (test_rows.test_a_kind_is_one_field_of_a_resource_numbered_and_named_like_it,),
    (test_rows.test_a_message_says_what_its_row_says_and_nothing_else, Toy),
    (test_rows.test_a_row_comes_back_from_the_wire_as_it_was, Toy),
):
    try:
        guard(*arguments)
    except Exception:
        failed += 1
        traceback.print_exc()
sys.exit(failed)
"""

TOY_MODEL = """\
class Toy(ConfigModel):
    id = models.CharField(primary_key=True, max_length=40)
    organization = models.ForeignKey(Organization, on_delete=models.PROTECT)
    colour = models.CharField(max_length=20)
    sizes = models.JSONField()
"""

TOY_TOUCHES = """
    def touches(self) -> Iterable[Touch]:
        return (Touch(ResourceKind.TOY, self.pk, self.organization_id),)
"""

TOY_COMPILED = """\
def _toy(row: Toy) -> core.Toy:
    return replace(_bare_toy(row), colour=row.colour, sizes=tuple(row.sizes))


def _bare_toy(row: Toy) -> core.Toy:
    return core.Toy(row.pk, row.organization_id, colour="", sizes=(), revision=0)


"""

COMPILER = """
import django
django.setup()
import controlplane.fleet.state.compile
"""

WITHOUT_PUSHED = """
from dataplane.core import pushed
pushed.PUSHED = pushed.Kinds(kind for kind in pushed.PUSHED.values() if kind.wire != "toy")
"""

SENDS_A_TOY = """
import os, tempfile
os.environ["DATABASE_URL"] = "sqlite:///" + tempfile.mkdtemp(dir=".") + "/toys.sqlite3"
import django
django.setup()
from django.apps import apps
from django.db import connection
with connection.schema_editor() as editor:
    for model in apps.get_models():
        editor.create_model(model)

from controlplane.changes.actor import Actor
from controlplane.changes.change_set import change_set
from controlplane.fleet.state.catalogue import Catalogue
from controlplane.fleet.state.reading import refreshed
from controlplane.keys.models import Toy
from controlplane.tenancy.models import Organization
from dataplane.core import rows
from dataplane.link.replica import Replica
from dataplane.wire.updates import Incoming

system = Actor.system("tests")
pod = Replica()

def receive(messages):
    for message in messages:
        pod.commit(pod.stage(Incoming.parse(bytes(message))))

with change_set(system):
    one, two = Organization(name="One", slug="one"), Organization(name="Two", slug="two")
    one.save()
    two.save()
    toy = Toy(id="toy_1", organization=one, colour="red", sizes=[3, 4])
    toy.save()
catalogue = refreshed(Catalogue())
receive(catalogue.full())
first = rows.Toy("toy_1", one.pk, "red", (3, 4), revision=1)
assert dict(pod.snapshot.toys) == {"toy_1": first}, dict(pod.snapshot.toys)
view, other = pod.snapshot.view(one.pk), pod.snapshot.view(two.pk)
assert view.rows(rows.Toy) == (first,) and other.rows(rows.Toy) == ()

with change_set(system):
    toy.colour = "blue"
    toy.save()
catalogue.apply(refreshed(catalogue))
receive(catalogue.delta(pod.revision))
assert [(each.colour, each.revision) for each in pod.snapshot.view(one.pk).rows(rows.Toy)] == [("blue", 2)]
assert view.rows(rows.Toy) == (first,) and pod.snapshot.view(two.pk) is other

with change_set(system):
    Toy.objects.all().delete()
catalogue.apply(refreshed(catalogue))
receive(catalogue.delta(pod.revision))
assert not pod.snapshot.toys and pod.snapshot.view(one.pk).rows(rows.Toy) == () and pod.revision == 3

from tests.controlplane.fleet import test_compile
test_compile.test_every_rule_says_whom_it_binds_for_pods_that_do_not_understand_it()
"""


# ---- read: what each sibling has, in the files that the recipe names -----------------------------------------------


@pytest.mark.parametrize("dialect", list(DialectName))
def test_a_dialect_stands_in_every_file_that_its_recipe_names(dialect: DialectName) -> None:
    files = {span for span in places("A dialect") if span.endswith(".py")}
    files |= {"dataplane/dialects/dialect.py"}
    for file in files:
        text = HOUSE.text(file)
        assert str(dialect) in text or f"DialectName.{dialect.name}" in text or dialect.name in text, file
    modules = [
        file for file in HOUSE.below(["dataplane/dialects"]) if f"name = DialectName.{dialect.name}" in HOUSE.text(file)
    ]
    [module] = modules
    name = module.rpartition("/")[2].removesuffix(".py")
    recorded = HOUSE.below(["tests/dialects", "tests/simprovider"])
    assert any(name in HOUSE.text(file) or str(dialect) in HOUSE.text(file) for file in recorded)


def test_what_pods_know_stands_in_every_file_that_its_recipe_names() -> None:
    kinds = re.findall(r"RESOURCE_KIND_(\w+) = [1-9]", HOUSE.text("protos/fleet.proto"))
    always = recipe("Something that pods must know").split("Where a field")[0]
    files = {span for span in spans_of(always) if "/" in span and span.endswith((".py", ".proto"))}
    assert len(kinds) > 5
    assert len(files) > 4
    for kind in kinds:
        camel = "".join(part.capitalize() for part in kind.split("_"))
        for file in files - ({"dataplane/core/rows.py"} if kind == "PRICE_LIST" else set()):  # a row of money
            assert re.search(rf"\b(?:RESOURCE_KIND_)?{kind}\b|\b{camel}\b", HOUSE.text(file)), (
                f"{kind} is not in {file}"
            )


def test_a_configuration_model_is_where_its_recipe_says() -> None:
    text = recipe("A configuration model")
    assert "`ConfigModel` (`controlplane/changes/config.py`)" in text
    for file, module in HOUSE.modules.items():
        if re.fullmatch(r"controlplane/\w+/models\.py", file) and "ConfigModel" in HOUSE.text(file):
            app = file.split("/")[1]
            actions = [name for name in HOUSE.below([f"controlplane/{app}"]) if re.search(r"/\w*actions\.py$", name)]
            assert any("change_set(" in HOUSE.text(name) for name in actions), f"{app} has no verbs in a change set"
            serves = [f"controlplane/{app}/api.py", *HOUSE.below(["controlplane/rest"])]
            models = [name for name in module.fields if re.search(rf"class {name}\(ConfigModel\)", HOUSE.text(file))]
            assert any(name in HOUSE.text(f) for name in models for f in serves if f in HOUSE.modules), app


def test_every_dependency_has_both_bounds() -> None:
    for name in re.findall(r'^    "([A-Za-z][^"]*[<>=][^"]*)",', HOUSE.text("pyproject.toml"), re.MULTILINE):
        assert ">=" in name, name
        assert "<" in name, name
