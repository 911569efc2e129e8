"""Imports stand at the top of their module, and no module imports another in a circle."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping
from graphlib import CycleError, TopologicalSorter

import grimp
import pytest

from tests.papers.house import house

REGISTRY = "Django's registry of models is whole only in ready() and in its system checks"
HEAVY = "25 MB of memory that only the compiler of price lists needs"
LIGHT = "a pod without it starts faster and stays smaller"
# File → module that a function of it imports → why not at the top.
LATE: Mapping[str, Mapping[str, str]] = {
    "controlplane/alerts/apps.py": {
        "controlplane.alerts.channels": REGISTRY,
        "controlplane.alerts.models": REGISTRY,
        "controlplane.alerts.sealed": REGISTRY,
        "controlplane.budgets.crossings": REGISTRY,
    },
    "controlplane/console/apps.py": {"controlplane.console": "its admin pages register themselves with the site"},
    "controlplane/providers/apps.py": {
        "controlplane.providers": REGISTRY,
        "controlplane.providers.credentials": REGISTRY,
        "controlplane.providers.models": REGISTRY,
    },
    "controlplane/tenancy/apps.py": {"controlplane.tenancy": REGISTRY},
    "controlplane/usage/apps.py": {
        "controlplane.budgets": REGISTRY,
        "controlplane.usage.earlier": REGISTRY,
        "controlplane.usage.ingest": REGISTRY,
    },
    "controlplane/providers/model_facts.py": {"genai_prices.data": HEAVY},
    "controlplane/providers/price_compiler.py": {"genai_prices.data": HEAVY},
    "dataplane/__main__.py": {
        "dataplane.host": "a command that only prints loads no server",
        "uvloop": "a command that only prints loads no server",
    },
    "dataplane/host/process.py": {"dataplane.proxy.provider.httpx_transport": LIGHT, "httpx": LIGHT},
    "dataplane/telemetry/traces.py": {"httpx": LIGHT},
}
# The same for what is imported for its types alone.
TYPES: Mapping[str, Mapping[str, str]] = {
    "controlplane/providers/model_facts.py": {"genai_prices": HEAVY},
    "controlplane/providers/price_compiler.py": {"genai_prices": HEAVY},
    "dataplane/host/process.py": {"httpx": LIGHT},
    "dataplane/telemetry/traces.py": {"httpx": LIGHT},
}


def product() -> dict[str, ast.Module]:
    return {
        file: module.tree
        for file, module in house().modules.items()
        if file.startswith(("controlplane/", "dataplane/")) and "/migrations/" not in file
    }


def imports_below(places: Iterable[ast.AST]) -> set[str]:
    modules: set[str] = set()
    for node in (node for place in places for node in ast.walk(place)):
        match node:
            case ast.Import(names=names):
                modules |= {name.name for name in names}
            case ast.ImportFrom(module=str(module)):
                modules.add(module)
    return modules


def functions(tree: ast.Module) -> list[ast.AST]:
    return [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]


def for_types_alone(tree: ast.Module) -> list[ast.AST]:
    return [node for node in ast.walk(tree) if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)]


LATE_NOW = {file: imports for file, tree in product().items() if (imports := imports_below(functions(tree)))}


@pytest.mark.parametrize("file", sorted(LATE_NOW.keys() | LATE.keys()))
def test_a_function_imports_only_what_has_a_reason(file: str) -> None:
    assert LATE_NOW.get(file, set()) == set(LATE.get(file, {})), f"{file}: import it at the top, or give a reason"


def test_nothing_of_ours_is_imported_for_its_types_alone() -> None:
    """A module that would need it stands in a circle, or wants a Protocol."""
    imports = {file: imports_below(for_types_alone(tree)) for file, tree in product().items()}
    assert {file: modules for file, modules in imports.items() if modules} == {
        file: set(modules) for file, modules in TYPES.items()
    }


def test_no_module_imports_another_in_a_circle() -> None:
    graph = grimp.build_graph("controlplane", "dataplane", "protos", cache_dir=None)
    imports = {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}
    try:
        TopologicalSorter(imports).prepare()
    except CycleError as error:
        pytest.fail(" imports ".join(reversed(error.args[1])))
