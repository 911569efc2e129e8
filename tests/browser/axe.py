"""axe-core in the page: what keeps people with a screen reader, a keyboard or weak eyes out. Fetched once."""

from __future__ import annotations

import hashlib
from functools import cache
from typing import Any

from selenium.webdriver import Chrome

from tests.clients.install import CouldNotInstall, Package, install
from tests.missing import is_missing

VERSION = "4.14.1"
SHA256 = "29348999450cdf2849a8e70b7912fc2da85a849da39c0d0d5394f51d4a9ed95c"
GRAVE = ("critical", "serious", "moderate")

LIGHT: dict[str, Any] = {}
DARK = {"runOnly": ["color-contrast", "link-in-text-block"]}  # nothing else depends on the colours
RUN = """
const [rules, dark, done] = arguments;
const html = document.documentElement;
const calm = document.createElement('style');
calm.textContent = '* { transition: none !important; animation: none !important; }';
document.head.append(calm);
const was = html.classList.contains('dark');
html.classList.toggle('dark', dark);
axe.run(document, {resultTypes: ['violations'], ...rules}).then((found) => {
  html.classList.toggle('dark', was);
  calm.remove();
  done(found.violations.map((rule) => ({
    id: rule.id, impact: rule.impact, nodes: rule.nodes.map((node) => node.html.slice(0, 160)).slice(0, 3)})));
}, (problem) => done([{id: String(problem), impact: 'critical', nodes: []}]));
"""


@cache
def source() -> str:
    """The library, as it was looked at when it was pinned. Skips loudly where it is not to be had; in CI fails."""
    try:
        installed = install("axe-core", Package("npm", "axe-core", VERSION))
    except CouldNotInstall as missing:
        is_missing(f"no axe-core: {missing}")
    text = (installed.folder / "node_modules" / "axe-core" / "axe.min.js").read_bytes()
    digest = hashlib.sha256(text).hexdigest()
    assert digest == SHA256, f"axe-core {VERSION} is not what was pinned: {digest}"
    return text.decode()


def findings(chrome: Chrome) -> list[str]:
    """What is wrong with the page in the light and in the dark, from moderate on."""
    if not chrome.execute_script("return 'axe' in window"):
        chrome.execute_script(source())
    said = []
    for name, rules, dark in (("light", LIGHT, False), ("dark", DARK, True)):
        for found in chrome.execute_async_script(RUN, rules, dark):
            if found["impact"] in GRAVE:
                said.append(f"{name}: {found['id']} ({found['impact']}): {found['nodes']}")
    return said
