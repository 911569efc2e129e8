"""The clients' connections of one pod, and the memory that they share."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dataplane.proxy.client.door import Room

if TYPE_CHECKING:
    from dataplane.proxy.client.connection import ClientConnection


class Crowd(set["ClientConnection"]):
    """`memory`: for what they have not read of their answers, and for the bodies of their requests."""

    def __init__(self, memory: Room) -> None:
        super().__init__()
        self.memory = memory
