"""Tables that list things: each thing once, each that there is, and where it is said to be."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from itertools import chain

import pytest

from controlplane.pages.recipes import RECIPES, CliTarget
from dataplane.dialects.dialect import DialectName
from tests.clients.registry import CLIS
from tests.conftest import LONGEST
from tests.papers.house import house
from tests.papers.paper import Row, spans_of
from tests.papers.words import stems

HOUSE = house()
CONTRACTS = {
    contract["name"]: contract
    for contract in tomllib.loads(HOUSE.text("pyproject.toml"))["tool"]["importlinter"]["contracts"]
}


def first_words(rows: tuple[Row, ...]) -> list[str]:
    return [spans_of(row.cells[0])[0].removesuffix("/").removesuffix(".py") for row in rows]


# ---- apps of the control plane -----------------------------------------------------------------------------------

APPS = HOUSE.paper("controlplane/README.md").table("app")


def test_each_app_stands_in_the_table_once_in_the_order_of_the_import_rule() -> None:
    layers = [layer.strip("()") for layer in CONTRACTS["Control plane layers"]["layers"]]
    real = {file.split("/")[1] for file in HOUSE.files if re.fullmatch(r"controlplane/\w+/apps\.py", file)}
    assert first_words(APPS.rows) == layers
    assert real <= set(layers), f"no layer: {sorted(real - set(layers))}"
    assert all(f"controlplane/{layer}/__init__.py" in HOUSE.files for layer in layers)


def models() -> Iterator[tuple[str, str]]:
    """What a model's rows are called in prose, and the app that has them."""
    for file, module in HOUSE.modules.items():
        if found := re.fullmatch(r"controlplane/(\w+)/(?:models|accounts)\.py", file):
            for node in module.tree.body:
                if isinstance(node, ast.ClassDef) and any("Model" in ast.unparse(base) for base in node.bases):
                    name = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", node.name).lower()
                    yield _plural(name), found[1]


def _plural(name: str) -> str:
    if name.endswith("y") and name[-2] not in "aeo":
        return name[:-1] + "ies"
    return name + ("es" if name.endswith("s") else "s")


@pytest.mark.parametrize("row", APPS.rows, ids=first_words(APPS.rows))
def test_what_an_app_is_said_to_have_is_in_it(row: Row) -> None:
    app, said = spans_of(row.cells[0])[0], row.cells[1].lower()
    owners: dict[str, set[str]] = {}
    for plural, owner in models():
        owners.setdefault(plural, set()).add(owner)
    elsewhere = {}
    for plural in sorted(owners, key=len, reverse=True):  # "price overrides" are no overrides
        said, times = re.subn(rf"(?<![\w-]){plural}(?![\w-])", "", said)
        if times and app not in owners[plural]:
            elsewhere[plural] = sorted(owners[plural])
    assert not elsewhere, f"the row of `{app}` has what other apps have: {elsewhere}"


# ---- packages of the data plane ----------------------------------------------------------------------------------

PACKAGES = HOUSE.paper("dataplane/README.md").table("package")
LAYERS = [[name.strip() for name in layer.split("|")] for layer in CONTRACTS["Data plane layers"]["layers"]]


def test_each_package_of_the_data_plane_stands_in_the_table_once() -> None:
    there = {file.split("/")[1].removesuffix(".py") for file in HOUSE.modules if file.startswith("dataplane/")}
    assert sorted(first_words(PACKAGES.rows)) == sorted(there - {"__init__"})
    assert sorted(chain.from_iterable(LAYERS)) == sorted(there - {"__init__"})


def below(layer: str) -> set[str]:
    at = next(n for n, names in enumerate(LAYERS) if layer in names)
    return set(chain.from_iterable(LAYERS[at + 1 :]))


def imports(package: str) -> set[str]:
    found = set()
    for file, module in HOUSE.modules.items():
        if file.startswith((f"dataplane/{package}/", f"dataplane/{package}.py")):
            for node in ast.walk(module.tree):
                if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("dataplane."):
                    found.add(str(node.module).split(".")[1])
    return found - {package}


@pytest.mark.parametrize("row", PACKAGES.rows, ids=first_words(PACKAGES.rows))
def test_what_a_package_may_import_is_what_the_contract_says_and_the_code_does(row: Row) -> None:
    package, words = first_words((row,))[0], row.cells[2]
    everything = set(chain.from_iterable(LAYERS)) - {package}
    before = set(first_words(PACKAGES.rows[: PACKAGES.rows.index(row)]))
    shapes: dict[str, set[str]] = {"nothing of ours": set(), "everything": everything, "everything above": before}
    found = re.fullmatch(r"(\w+) and below", words)
    said = {found[1]} | below(found[1]) if found else shapes.get(words, set(words.split(", ")))
    assert said <= everything, f"{sorted(said - everything)} are no packages"
    assert said <= below(package), f"import-linter forbids {package} {sorted(said - below(package))}"
    assert imports(package) <= said, f"{package} imports {sorted(imports(package) - said)} too"


# ---- the README's coding CLIs --------------------------------------------------------------------------------------

CLI_ROWS = {row.cells[0]: row for row in HOUSE.paper("README.md").table("CLI").rows}
BY_SLUG = {recipe.slug: recipe for recipe in RECIPES}


def test_the_readme_lists_the_clis_that_have_a_recipe_of_their_own() -> None:
    assert sorted(CLI_ROWS) == sorted(recipe.name for recipe in RECIPES if recipe.slug != "curl")


@pytest.mark.parametrize("cli", CLIS, ids=lambda cli: cli.name)
def test_the_versions_said_to_be_tested_are_the_pinned_ones(cli) -> None:
    pinned = {case.version for case in cli.cases}
    recipe = BY_SLUG[cli.name]
    said = set(CLI_ROWS[recipe.name].cells[1].split(", "))
    assert said == pinned
    assert {next(p for p in pinned if f"{p}.".startswith(f"{v}.")) for v in recipe.tested.split(", ")} == pinned


@pytest.mark.parametrize("name", sorted(CLI_ROWS))
def test_the_readme_names_the_variables_and_files_that_the_recipe_sets(name: str) -> None:
    recipe = next(recipe for recipe in RECIPES if recipe.name == name)
    snippets = recipe.setup(CliTarget("https://gateway.example")).snippets
    handed_out = "\n".join(f"{snippet.where}\n{snippet.text}" for snippet in snippets)
    exported = set(re.findall(r"^export (\w+)=", handed_out, re.MULTILINE))
    cell = CLI_ROWS[name].cells[2]
    named = {span.partition("=")[0] for span in spans_of(cell) if re.fullmatch(r"[A-Z][A-Z0-9_]+(=.*)?", span)}
    assert named == exported, f"{name}: the README names {sorted(named)}, the recipe sets {sorted(exported)}"
    for span in spans_of(cell):
        assert span in handed_out or span.replace("=", '": "') in handed_out, f"{name}: `{span}` is not in the recipe"
    assert all(words in handed_out for words in re.findall(r"\*([^*]+)\*", cell))


# ---- claims and their tests ----------------------------------------------------------------------------------------


def claims() -> list[tuple[str, str]]:
    rows = HOUSE.paper("SECURITY.md").table("claim").rows
    found = [(row.cells[0], row.cells[1]) for row in rows]
    return found + [(row.cells[1], row.cells[2]) for row in HOUSE.paper("ARCHITECTURE.md").table("#").rows]


def told_in(place: str) -> list[tuple[str, str]]:
    """Every test of a file or folder: where it is, and what it says of itself."""
    found = []
    for file in HOUSE.below([place.removesuffix("/")]):
        if re.fullmatch(r"(?:.*/)?test_\w+\.py", file):
            tree = HOUSE.modules[file].tree
            about = ast.get_docstring(tree) or ""
            for node in ast.walk(tree):
                if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
                    found.append((file, f"{node.name} {ast.get_docstring(node) or ''} {about}"))
                if isinstance(node, ast.Assign) and "TestCase" in ast.unparse(node.value):
                    found.append((file, f"{ast.unparse(node.targets[0])} {about}"))
    return found


@pytest.mark.parametrize(("claim", "tests"), claims(), ids=[claim[:40] for claim, _ in claims()])
def test_a_claim_names_tests_that_speak_of_it(claim: str, tests: str) -> None:
    places = [span for span in spans_of(tests) if "/" in span]
    assert places or "lint-imports" in tests, "no test is named"
    for place in places:
        there = told_in(place)
        assert there, f"{place} holds no test"
        shared = max(len(stems(claim) & stems(about)) for _, about in there)
        assert shared >= 2, f"no test in {place} shares two words with: {claim}"


GONE = HOUSE.paper("ARCHITECTURE.md").table("when … is gone")


def test_each_thing_that_can_be_gone_has_its_row() -> None:
    things = [row.cells[0] for row in GONE.rows]
    assert things == ["the fleet server", "the database", "the broker", "a provider", "a pod", "a pod's clock"]
    columns = ["new requests", "running streams", "money", "records", "admins see", "shown by"]
    assert list(GONE.head[1:]) == columns


@pytest.mark.parametrize("row", GONE.rows, ids=[row.cells[0] for row in GONE.rows])
def test_what_happens_without_it_names_the_files_that_do_it_and_the_tests_that_show_it(row: Row) -> None:
    *cells, shown = row.cells
    assert all(cells), "an empty cell says nothing"
    places = [span for cell in cells for span in spans_of(cell) if span.endswith(".py")]
    assert len(places) >= 3
    assert not [place for place in places if place not in HOUSE.files or place.startswith("tests/")]
    assert spans_of(shown)
    assert not [place for place in spans_of(shown) if not told_in(place)], "a file that holds no test"


# ---- where to look -------------------------------------------------------------------------------------------------

LOOK = HOUSE.paper("ARCHITECTURE.md").table("question")
FILES_AT_MOST = 4


@pytest.mark.parametrize("row", LOOK.rows, ids=[row.cells[0] for row in LOOK.rows])
def test_a_newcomers_question_is_answered_in_four_files_that_define_what_is_said_to_be_there(row: Row) -> None:
    pairs = re.findall(r"`(\w+)` in `([\w/]+\.py)`", row.cells[1])
    papers = re.findall(r"\]\(([\w/]+\.md)", row.cells[1])
    assert 2 <= len(pairs) + len(papers) <= FILES_AT_MOST
    assert len(pairs) == len([span for span in spans_of(row.cells[1]) if "/" in span]), "a file without its name"
    for name, file in pairs:
        assert HOUSE.defined_in(name, [file]), f"{file} defines no {name}"


# ---- the life of a request -----------------------------------------------------------------------------------------

STAGES = ("authenticate", "read", "plan", "hold", "attempt", "relay", "settle")


def stages_in(text: str) -> list[str]:
    """The lines of the list of stages, a word and its meaning each."""
    return re.findall(rf"^ *((?:{'|'.join(STAGES)})  +\S.*)$", text, re.MULTILINE)


def test_the_stages_are_told_alike_wherever_they_are_told() -> None:
    told = stages_in(ast.get_docstring(HOUSE.modules["dataplane/proxy/pipeline.py"].tree) or "")
    assert [line.split()[0] for line in told] == list(STAGES)
    for paper in ("ARCHITECTURE.md", "dataplane/README.md"):
        assert stages_in(HOUSE.text(paper)) == told, f"{paper} tells the stages in other words than the pipeline"


# ---- folders -------------------------------------------------------------------------------------------------------


def test_every_folder_of_the_tests_is_named_in_their_door_plate() -> None:
    paper = HOUSE.paper("tests/README.md")
    named = [span.text.split("/")[0] for span in paper.spans]
    folders = {file.split("/")[1] for file in HOUSE.files if re.fullmatch(r"tests/\w+/__init__\.py", file)}
    assert folders <= set(named), f"not named: {sorted(folders - set(named))}"
    rows = [span for row in paper.tables[0].rows for span in spans_of(row.cells[0])]
    assert len(rows) == len(set(rows))


def test_what_mirrors_the_code_has_code_to_mirror() -> None:
    sentence = HOUSE.paper("tests/README.md").prose.split("The tree mirrors the code:")[1].split(". ")[0]
    mirrored = {span for span in spans_of(sentence) if "/" not in span}
    assert mirrored == {name for name in first_words(PACKAGES.rows) if f"tests/{name}/__init__.py" in HOUSE.files}


def test_everything_in_deploy_stands_in_its_table() -> None:
    rows = HOUSE.paper("deploy/README.md").tables[0].rows
    named = {span.split(" ")[0].strip("/") for row in rows for span in spans_of(row.cells[0])}
    there = {file.split("/")[1] for file in HOUSE.files if file.startswith("deploy/")} - {"README.md", "__init__.py"}
    assert named == there


# ---- words ---------------------------------------------------------------------------------------------------------

WORDS = [word for row in HOUSE.paper("ARCHITECTURE.md").table("word").rows for word in re.split(r", ", row.cells[0])]


@pytest.mark.parametrize("word", WORDS)
def test_a_word_of_the_house_is_a_name_in_its_code(word: str) -> None:
    camel = "".join(part.capitalize() for part in word.split())
    snake = word.replace(" ", "_")
    product = [file for file in HOUSE.modules if re.match(r"(?:controlplane|dataplane)/", file)]
    classes = {
        node.name for file in product for node in ast.walk(HOUSE.modules[file].tree) if isinstance(node, ast.ClassDef)
    }
    rooms = {part.removesuffix(".py") for file in product for part in file.split("/")}
    assert {camel} & classes or {snake, f"{snake}s"} & rooms, f"no class, module or package is called {word}"


def test_the_dialects_are_those_of_the_word_list() -> None:
    [meaning] = [row.cells[1] for row in HOUSE.paper("ARCHITECTURE.md").table("word").rows if row.cells[0] == "dialect"]
    named = {name.lower().replace(" ", "_") for name in meaning.partition(": ")[2].split(", ")}
    assert len(named) == len(DialectName)
    assert {next(name for name in named if name.startswith(dialect)) for dialect in DialectName} == named


def test_the_files_that_begin_first_are_there() -> None:
    assert set(LONGEST) <= HOUSE.files
