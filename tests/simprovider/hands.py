"""Turns "run this" and "write that" into a call of the tool that the asking client has for it.

Names by client: Claude Code and Continue `Bash` `Write`; opencode `bash` `write`; Gemini CLI and Qwen Code
`run_shell_command` `write_file`; Cline `run_commands` `apply_patch`; Codex `exec_command` `shell_command` `shell`
`apply_patch`, and for gpt-6 only the custom `exec` that takes JavaScript. Arguments are filled in by the tool's own
schema, so that a renamed field does not matter.
"""

from __future__ import annotations

import json
import shlex
from typing import Any

from tests.simprovider.conversation import Tool
from tests.simprovider.script import Call

SHELLS = (
    "Bash",
    "bash",
    "exec_command",
    "shell_command",
    "run_shell_command",
    "run_commands",
    "execute_command",
    "shell",
    "exec",
)
WRITERS = ("Write", "write", "write_file", "write_to_file", "create_file", "editor", "apply_patch")
COMMAND_FIELDS = ("command", "commands", "cmd", "script", "requires_approval")
PATH_FIELDS = ("file_path", "filepath", "filePath", "path", "absolute_path", "target_file")
CONTENT_FIELDS = ("content", "contents", "file_text", "text", "new_text")


def _named(tools: list[Tool], names: tuple[str, ...]) -> Tool | None:
    for name in names:
        for tool in tools:
            if tool.name == name:
                return tool
    return None


def _patch(path: str, content: str) -> str:
    lines = "\n".join(f"+{line}" for line in content.split("\n"))
    return f"*** Begin Patch\n*** Add File: {path}\n{lines}\n*** End Patch\n"


def _code(statement: str) -> str:
    """JavaScript for Codex' code mode: the result is what `text` prints."""
    return f"const result = await {statement};\ntext(typeof result === 'string' ? result : JSON.stringify(result));\n"


def run_call(tools: list[Tool], command: str) -> Call | None:
    """A call that runs a shell command, or None when the client offers nothing for it."""
    tool = _named(tools, SHELLS)
    if tool is None:
        return None
    if tool.custom:
        return _custom(tool, _code(f"tools.exec_command({json.dumps({'cmd': command})})"))
    properties = _properties(tool)
    name = next((known for known in COMMAND_FIELDS if known in properties), "command")
    kind = properties.get(name, {})
    value: Any = command
    if "array" in (kind.get("type"), *(part.get("type") for part in kind.get("anyOf", []) if isinstance(part, dict))):
        value = ["bash", "-lc", command] if tool.name == "shell" else [command]
    return _filled(tool, {name: value})


def write_call(tools: list[Tool], path: str, content: str) -> Call | None:
    """A call that creates a file: by the client's file tool, else by its shell."""
    tool = _named(tools, WRITERS)
    if tool is None:
        return run_call(tools, f"printf '%s\\n' {shlex.quote(content)} > {shlex.quote(path)}")
    if tool.name == "apply_patch":
        patch = _patch(path, content)
        if tool.custom:
            return _custom(tool, patch)
        return _filled(tool, {next(iter(_properties(tool)), "input"): patch})
    properties = _properties(tool)
    where = next((known for known in PATH_FIELDS if known in properties), PATH_FIELDS[0])
    what = next((known for known in CONTENT_FIELDS if known in properties), CONTENT_FIELDS[0])
    return _filled(tool, {where: path, what: content})


def call_for(tools: list[Tool], name: str, arguments: str) -> Call:
    """A call by name, `namespace/name` included, whether the tool was offered or not."""
    space, _, plain = name.rpartition("/")
    known = next((tool for tool in tools if tool.name == plain and space in ("", tool.namespace)), None)
    if known is not None and known.custom:
        return _custom(known, arguments)
    return Call(name=plain, arguments=json.loads(arguments or "{}"), namespace=known.namespace if known else space)


def _custom(tool: Tool, text: str) -> Call:
    return Call(
        name=tool.name, input=text, namespace="" if tool.namespace == "functions" else tool.namespace, custom=True
    )


def _properties(tool: Tool) -> dict[str, Any]:
    found = tool.schema.get("properties")
    return found if isinstance(found, dict) else {}


def _filled(tool: Tool, arguments: dict[str, Any]) -> Call:
    """With something harmless in every other field that the schema requires."""
    for name in tool.schema.get("required", []):
        if name in arguments:
            continue
        field = _properties(tool).get(name, {})
        kind = str(field.get("type", "string")).lower()
        empty = {"boolean": False, "integer": 10, "number": 10, "array": [], "object": {}}
        arguments[name] = field["enum"][0] if field.get("enum") else empty.get(kind, "asked for by the simulator")
    return Call(name=tool.name, arguments=arguments, namespace=tool.namespace)
