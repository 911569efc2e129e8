"""`python -m tests.browser.screenshots`: the README's pictures, from a running demo.

Reads demo.json (in DEMO_VAR, else var/), lets a few people use the gateway, walks through the admin and writes
deploy/screenshots/*.png. Keys that it mints are revoked before it ends, and none is readable in a picture.
"""

from __future__ import annotations

import json
import os
import sys
import time
from itertools import cycle
from pathlib import Path
from typing import Any

import httpx
from selenium.webdriver import Chrome

from tests.browser.chromium import chromium, complaints
from tests.browser.person import Person

ROOT = Path(__file__).resolve().parents[2]
TARGET = ROOT / "deploy" / "screenshots"
WIDTH, HEIGHT = 1440, 1240
PEOPLE = ("Grace Hopper", "Alan Turing", "Katherine Johnson")
SHOWN = "lw_vk_live_7Q2M4XK9TB" + "•" * 32
LIVE_WITHIN_S = 70


def user_turn(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


CLIENTS: tuple[tuple[str, dict[str, str], dict[str, Any]], ...] = (
    (
        "/v1/messages",
        {"user-agent": "claude-cli/2.1.330 (external, cli)", "x-app": "cli", "anthropic-version": "2023-06-01"},
        {"model": "claude-sonnet-4-5", "max_tokens": 500, "messages": user_turn("Explain this repository.")},
    ),
    (
        "/v1/responses",
        {"user-agent": "codex_exec/0.169.0 (Debian 12.0.0; x86_64)", "originator": "codex_exec"},
        {"model": "gpt-5.5", "input": "Add a test for the parser."},
    ),
    (
        "/v1/chat/completions",
        {"user-agent": "opencode/1.18.33"},
        {"model": "gpt-4o", "messages": user_turn("Rename this function everywhere.")},
    ),
    (
        "/v1beta/models/gemini-2.5-flash:generateContent",
        {"user-agent": "GeminiCLI-tui/0.61.0/gemini-2.5-flash (linux; x64; terminal)"},
        {"contents": [{"role": "user", "parts": [{"text": "What changed since yesterday?"}]}]},
    ),
)


class Demo:
    """The running demo: its API and its gateway."""

    def __init__(self, report: dict[str, Any]) -> None:
        self.report = report
        self.api = httpx.Client(
            base_url=report["api_url"], headers={"authorization": f"Bearer {report['api_token']}"}, trust_env=False
        )
        self.pods = cycle(report["gateway_urls"])
        self.client = httpx.Client(timeout=60, trust_env=False)
        self.minted: list[str] = []

    def post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        made: dict[str, Any] = self.api.post(path, json=body).raise_for_status().json()
        return made

    def person(self, name: str) -> str:
        email = f"{name.split(maxsplit=1)[0].lower()}@example.com"
        known = self.api.get("principals", params={"email": email}).raise_for_status().json()["data"]
        if known:
            return str(known[0]["id"])
        body = {"organization_id": self.report["organization_id"], "display_name": name, "email": email}
        return str(self.post("principals", body)["id"])

    def mint(self, name: str) -> str:
        body = {"name": name, "project_id": self.report["project_id"], "principal_id": self.person(name)}
        made = self.post("virtual-keys", body | {"name": f"{name.split(maxsplit=1)[0].lower()}-laptop"})
        self.minted.append(made["id"])
        return str(made["token"])

    def set_budgets(self) -> None:
        """Once; a second run finds them."""
        where = self.report["organization_id"]
        if self.api.get("budgets", params={"organization_id": where}).raise_for_status().json()["data"]:
            return
        for name, kind, scope, window, cents in (
            ("company", "organization", where, "month", 500),
            ("coding-clis", "project", self.report["project_id"], "day", 40),
            ("grace", "principal", self.person(PEOPLE[0]), "month", 10),
        ):
            body = {"organization_id": where, "name": name, "scope_kind": kind, "scope_id": scope, "window": window}
            self.post("budgets", body | {"limit_nano": cents * 10_000_000})

    def let_people_work(self) -> None:
        turns = cycle(CLIENTS)
        for share, name in enumerate(PEOPLE, start=1):
            token = self.mint(name)
            for _ in range(3 * share + 2):
                path, headers, body = next(turns)
                headers = headers | {"authorization": f"Bearer {token}"}
                answer = self.client.post(next(self.pods) + path, json=body, headers=headers)
                if answer.status_code != 200:
                    raise SystemExit(f"{path}: {answer.status_code} {answer.text[:300]}")

    def await_ledger(self) -> None:
        """Until the reports of the last requests have been booked."""
        wanted = sum(3 * share + 2 for share in range(1, len(PEOPLE) + 1))
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            found = self.api.get("usage", params={"limit": "200", "state": "final"}).raise_for_status().json()["data"]
            if sum(row["key_id"] in self.minted for row in found) >= wanted:
                return
            time.sleep(0.3)
        raise SystemExit("the requests did not reach the ledger")

    def revoke_minted(self) -> None:
        for key in self.minted:
            self.post(f"virtual-keys/{key}/revoke", {})


def shoot(chrome: Chrome, name: str, height: int = HEIGHT) -> None:
    chrome.set_window_size(WIDTH, height)
    problems = complaints(chrome)
    if problems:
        raise SystemExit(f"{name}: {problems}")
    chrome.save_screenshot(str(TARGET / f"{name}.png"))
    print(f"deploy/screenshots/{name}.png")


def cover(chrome: Chrome, token: str) -> None:
    """Another text in place of a key's, everywhere on the page."""
    chrome.execute_script(
        "const [token, shown] = arguments;"
        "document.querySelectorAll('#token, pre').forEach((place) => {"
        "  place.textContent = place.textContent.replaceAll(token, shown); });",
        token,
        SHOWN,
    )


def show_a_key(admin: Person, demo: Demo) -> None:
    grace = demo.person(PEOPLE[0])
    admin.go_to("Virtual keys")
    admin.start_new()
    admin.fill("name", "grace-desktop")
    admin.choose_id("project", demo.report["project_id"])
    admin.choose_id("principal", grace)
    admin.press("Save")
    cover(admin.chrome, admin.read("#token"))
    shoot(admin.chrome, "key-once", 900)
    admin.press("I have stored it")
    admin.press("Revoke")
    admin.press("Revoke for good")
    admin.wait_at_most(LIVE_WITHIN_S).until(lambda _: admin.sees("Live on") and not admin.sees("waiting"))
    shoot(admin.chrome, "revoked", 720)


def main() -> int:
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(os.environ.get("DEMO_VAR", ROOT / "var")) / "demo.json"
    if not path.exists():
        print(f"{path} is not there: start `make demo` first", file=sys.stderr)
        return 1
    report = json.loads(path.read_text())
    demo = Demo(report)
    TARGET.mkdir(parents=True, exist_ok=True)
    try:
        demo.set_budgets()
        demo.let_people_work()
        demo.await_ledger()
        with chromium(width=WIDTH, height=HEIGHT) as chrome:
            admin = Person(chrome, report["admin_url"].rpartition("/admin")[0])
            admin.log_in(report["admin_username"], report["admin_password"])
            admin.press("Today")
            shoot(chrome, "dashboard")
            admin.go_to("Requests")
            admin.choose("days", "Today")
            admin.press("Apply")
            shoot(chrome, "usage")
            for name, page in (("budgets", "Budgets"), ("fleet", "Pods")):
                admin.go_to(page)
                shoot(chrome, name)
            show_a_key(admin, demo)
            chrome.execute_script("localStorage.setItem('adminTheme', JSON.stringify('dark'))")
            admin.go_to("Dashboard")
            admin.press("Today")
            shoot(chrome, "dashboard-dark")
    finally:
        demo.revoke_minted()
    return 0


if __name__ == "__main__":
    sys.exit(main())
