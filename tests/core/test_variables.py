"""A mistyped variable is named; those of the other plane, of people and of the suite are not."""

from __future__ import annotations

from controlplane.environment import Environment, variable_of
from dataplane.core.variables import CONTROL_PLANES_VARIABLES, PODS_VARIABLES, PREFIX, unknown
from dataplane.settings import Settings


def test_the_names_are_those_that_are_declared():
    assert {PREFIX + name.upper() for name in Settings.model_fields} == PODS_VARIABLES
    declared = {variable_of(name) for name in Environment.model_fields}
    assert {name for name in declared if name.startswith(PREFIX)} == CONTROL_PLANES_VARIABLES


def test_a_mistyped_name_is_told_with_what_was_meant():
    told = unknown(
        ["AIGATEWAY_TYPO", "AIGATEWAY_LISTN", "AIGATEWAY_PEPPRES_FILE", "HOME", "MY_AIGATEWAY_X"],
        PODS_VARIABLES | {"AIGATEWAY_PEPPERS"},
        (),
    )
    assert len(told) == 3
    assert "AIGATEWAY_LISTN is not a variable" in told[0]
    assert "did you mean AIGATEWAY_LISTEN?" in told[0]
    assert "did you mean AIGATEWAY_PEPPERS?" in told[1]
    assert "AIGATEWAY_TYPO" in told[2]
    assert "settings.md" in told[2]


def test_names_of_the_other_plane_of_files_of_recipes_and_of_the_suite_are_known():
    names = {
        *PODS_VARIABLES, *CONTROL_PLANES_VARIABLES, "AIGATEWAY_PEPPERS_FILE", "AIGATEWAY_API_KEY",
        "AIGATEWAY_TEST_DATABASE_URL", "DATABASE_URL",
    }  # fmt: skip
    assert unknown(names, PODS_VARIABLES, CONTROL_PLANES_VARIABLES) == []
    assert unknown(names, CONTROL_PLANES_VARIABLES, PODS_VARIABLES) == []
