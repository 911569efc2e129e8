"""Whatever CLI asks, the simulator uses that CLI's own tools, and says what it is to a person."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.simprovider import aider
from tests.simprovider.brain import instance, reply
from tests.simprovider.conversation import Conversation, Tool, Turn, unwrapped
from tests.simprovider.hands import run_call, write_call
from tests.simprovider.script import DEFAULT


def schema(**fields: Any) -> dict[str, Any]:
    return {"type": "object", "properties": fields, "required": list(fields)}


TEXT, MANY, FLAG = {"type": "string"}, {"type": "array", "items": {"type": "string"}}, {"type": "boolean"}

SHELLS = [
    (Tool("Bash", schema(command=TEXT, description=TEXT)), "command", "ls"),
    (Tool("bash", schema(command=TEXT)), "command", "ls"),
    (Tool("exec_command", schema(cmd=TEXT)), "cmd", "ls"),
    (Tool("shell_command", schema(command=TEXT)), "command", "ls"),
    (Tool("shell", schema(command=MANY)), "command", ["bash", "-lc", "ls"]),
    (Tool("run_shell_command", schema(command=TEXT, is_background=FLAG)), "command", "ls"),
    (Tool("run_commands", schema(commands=MANY)), "commands", ["ls"]),
]


@pytest.mark.parametrize(("tool", "field", "value"), SHELLS, ids=[tool.name for tool, _, _ in SHELLS])
def test_a_command_runs_in_each_clients_shell(tool: Tool, field: str, value: Any) -> None:
    call = run_call([Tool("Read"), tool], "ls")
    assert call is not None
    assert call.name == tool.name
    assert call.arguments[field] == value
    assert set(call.arguments) == set(tool.schema["required"])


def test_codex_code_mode_gets_javascript() -> None:
    call = run_call([Tool("exec", namespace="functions", custom=True)], 'echo "a"')
    assert call is not None
    assert call.custom
    assert 'tools.exec_command({"cmd": "echo \\"a\\""})' in call.input
    assert call.namespace == ""


WRITERS = [
    (Tool("Write", schema(file_path=TEXT, content=TEXT)), {"file_path": "a.txt", "content": "hi"}),
    (Tool("Write", schema(filepath=TEXT, content=TEXT)), {"filepath": "a.txt", "content": "hi"}),
    (Tool("write", schema(filePath=TEXT, content=TEXT)), {"filePath": "a.txt", "content": "hi"}),
    (Tool("write_file", schema(file_path=TEXT, content=TEXT)), {"file_path": "a.txt", "content": "hi"}),
    (Tool("bash", schema(command=TEXT)), {"command": "printf '%s\\n' hi > a.txt"}),
]


@pytest.mark.parametrize(("tool", "arguments"), WRITERS)
def test_a_file_is_written_with_each_clients_tool(tool: Tool, arguments: dict[str, Any]) -> None:
    call = write_call([tool], "a.txt", "hi")
    assert call is not None
    assert call.arguments == arguments


@pytest.mark.parametrize("custom", [True, False])
def test_apply_patch_takes_text_or_an_object(custom: bool) -> None:
    call = write_call([Tool("apply_patch", schema(patchText=TEXT), custom=custom)], "a.txt", "hi")
    assert call is not None
    patch = "*** Begin Patch\n*** Add File: a.txt\n+hi\n*** End Patch\n"
    assert (call.input, call.arguments) == ((patch, {}) if custom else ("", {"patchText": patch}))


@pytest.mark.parametrize(
    ("system", "expected"),
    [
        ("use *SEARCH/REPLACE* blocks", "<<<<<<< SEARCH\n=======\nhi\n>>>>>>> REPLACE"),
        ("edits like diff -U0", "+++ a.txt\n@@ ... @@\n+hi"),
        ("return whole file listings", "a.txt\n```\nhi\n```"),
    ],
)
def test_aider_gets_its_edit_as_text(system: str, expected: str) -> None:
    assert expected in aider.edit(system, "a.txt hi")


def talk(*turns: Turn, tools: bool = True, **more: Any) -> Conversation:
    offered = [Tool("Bash", schema(command=TEXT)), Tool("Write", schema(file_path=TEXT, content=TEXT))]
    return Conversation(model="m", turns=list(turns), tools=offered if tools else [], **more).settle()


def test_wishes_are_granted_one_a_turn_and_the_last_turn_tells_what_the_tools_said() -> None:
    turns = [Turn("user", "[[sim: write a.txt hi]] then [[sim: run cat a.txt]]")]
    names = []
    for result in ("written", "hi", ""):
        answer = reply(talk(*turns), DEFAULT, "anthropic_messages")
        names.append([call.name for call in answer.calls])
        turns += [Turn("assistant", calls=1), Turn("user", results=[result])]
    assert names == [["Write"], ["Bash"], []]
    assert answer.text.endswith("written\nhi")


def test_a_second_prompt_begins_anew() -> None:
    answered = [
        Turn("user", "[[sim: run ls]]"),
        Turn("assistant", calls=1),
        Turn("user", results=["a"]),
        Turn("assistant", "ok"),
    ]
    assert reply(talk(*answered, Turn("user", "thanks")), DEFAULT, "gemini").calls == []
    again = talk(*answered, Turn("user", "[[sim: run pwd]]"))
    assert reply(again, DEFAULT, "gemini").calls[0].arguments["command"] == "pwd"


@pytest.mark.parametrize(
    ("prompt", "name", "arguments"),
    [
        ("Run `ls -la` for me", "Bash", {"command": "ls -la"}),
        (
            "Create hello.txt containing hello from the gateway",
            "Write",
            {"file_path": "hello.txt", "content": "hello from the gateway"},
        ),
    ],
)
def test_a_person_may_ask_in_words(prompt: str, name: str, arguments: dict[str, str]) -> None:
    [call] = reply(talk(Turn("user", prompt)), DEFAULT, "openai_chat").calls
    assert (call.name, call.arguments) == (name, arguments)


def test_a_person_is_told_what_answers_and_how_to_use_a_real_provider() -> None:
    text = reply(talk(Turn("user", "What is the meaning of life?")), DEFAULT, "openai_chat").text
    for part in ("built-in simulator", "ANTHROPIC_API_KEY", "admin", "What is the meaning of life?"):
        assert part in text


@pytest.mark.parametrize(
    ("system", "expected"),
    [
        ("You are a title generator.", "Simulated session"),
        ("Write a commit message for this diff", "feat: add the marker file"),
    ],
)
def test_side_calls_get_short_answers_even_when_they_quote_a_wish(system: str, expected: str) -> None:
    side = talk(Turn("user", "[[sim: run ls]]"), tools=False, system=system)
    assert reply(side, DEFAULT, "openai_chat").text == expected


def test_structured_answers_fit_their_schema() -> None:
    wanted = {
        "type": "object",
        "properties": {
            "title": TEXT,
            "level": {"enum": ["low", "high"]},
            "score": {"type": "integer", "minimum": 3},
            "list": MANY,
            "nested": {"$ref": "#/$defs/inner"},
        },
        "$defs": {"inner": {"type": "object", "properties": {"ok": FLAG}}},
    }
    expected = {"title": "Simulated session", "level": "low", "score": 3, "list": [], "nested": {"ok": False}}
    assert instance(wanted, wanted) == expected
    side = talk(Turn("user", "hello"), tools=False, schema=wanted)
    assert json.loads(reply(side, DEFAULT, "openai_chat").text) == expected


def test_what_clients_wrap_around_the_words_is_not_the_prompt() -> None:
    assert unwrapped("<system-reminder>a</system-reminder>do <environment_context>x</environment_context>it") == "do it"
    assert unwrapped("<system-reminder>never closed") == ""
