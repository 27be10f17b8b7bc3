"""A misspelt name is answered with the name that was meant, if its asker may know that."""

from __future__ import annotations

from typing import Any

import pytest

from alephscript import (
    AlephScriptClient,
    NoMaster,
    RequestError,
    UnknownCapability,
    capability,
    master,
)
from alephscript.hub import Access, Handshake, Hub, Identity
from tests.support.meshes import MeshUnderTest

pytestmark = pytest.mark.anyio


class Greeter(AlephScriptClient):
    """Offers something in each of two rooms."""

    rooms = master("MY_BOT", "CELLAR")

    @capability("GREET")
    async def greet(self) -> None:
        """Do nothing."""

    @capability("BURY", room="CELLAR")
    async def bury(self) -> None:
        """Do nothing."""


@pytest.mark.parametrize(
    ("name", "room", "error", "sentence"),
    [
        ("GRET", None, NoMaster, "nobody offers GRET; did you mean GREET? [no_master]"),
        ("greet", None, NoMaster, "nobody offers greet; did you mean GREET? [no_master]"),
        ("BURRY", None, NoMaster, "nobody offers BURRY; did you mean BURY? [no_master]"),
        ("OTHER", None, NoMaster, "nobody offers OTHER [no_master]"),
        ("GREET", "MY_BAT", NoMaster, "MY_BAT has no master; did you mean MY_BOT? [no_master]"),
        ("GREET", "my_bot", NoMaster, "my_bot has no master; did you mean MY_BOT? [no_master]"),
        ("GREET", "HALL", NoMaster, "HALL has no master [no_master]"),
        # A room that is there is not misspelt.
        ("GREET", "MY_BUT", NoMaster, "MY_BUT has no master [no_master]"),
        (
            "GRET",
            "MY_BOT",
            UnknownCapability,
            "Greeter has no capability GRET; did you mean GREET? [unknown_capability]",
        ),
        (
            "BURRY",
            "CELLAR",
            UnknownCapability,
            "Greeter has no capability BURRY; did you mean BURY? [unknown_capability]",
        ),
        # What another room of the same bot offers is not told to who asks here.
        (
            "BURRY",
            "MY_BOT",
            UnknownCapability,
            "Greeter has no capability BURRY [unknown_capability]",
        ),
    ],
)
async def test_the_name_that_was_meant_is_in_the_error(
    mesh: MeshUnderTest, name: str, room: str | None, error: type[RequestError], sentence: str
) -> None:
    """Of a capability, of a room; by case and by letters."""
    await mesh.open(Greeter)
    asker: AlephScriptClient = await mesh.open()
    await asker.subscribe("MY_BUT")
    with pytest.raises(error) as caught:
        await asker.request(name, {}, room=room, timeout=10)
    assert str(caught.value) == sentence


class OwnRooms(Access):
    """Lets each client use the rooms that it says it may."""

    def authenticate(self, auth: Any, handshake: Handshake) -> Identity:
        """Believe it."""
        return Identity(rooms=frozenset(auth["rooms"]))


async def test_a_name_that_access_forbids_is_not_told() -> None:
    """Neither of a capability nor of a room."""
    async with (
        Hub(port=0, access=OwnRooms()) as hub,
        Greeter(hub.url, auth={"rooms": ["MY_BOT", "CELLAR"]}),
        AlephScriptClient(hub.url, auth={"rooms": ["MY_BOT", "MY_BAT", "CELAR"]}) as asker,
    ):
        told = []
        for name, room in (("GRET", None), ("BURRY", None), ("X", "MY_BAT"), ("X", "CELAR")):
            with pytest.raises(NoMaster) as caught:
                await asker.request(name, {}, room=room)
            told.append(caught.value.message)
    assert told == [
        "nobody offers GRET; did you mean GREET?",
        "nobody offers BURRY",
        "MY_BAT has no master; did you mean MY_BOT?",
        "CELAR has no master",
    ]


async def test_who_misspells_all_the_time_is_told_no_more(mesh: MeshUnderTest) -> None:
    """It is no person, and each name costs the hub some work."""
    await mesh.open(Greeter)
    asker: AlephScriptClient = await mesh.open()
    told = 0
    for _ in range(102):
        with pytest.raises(NoMaster) as caught:
            await asker.request("GRET")
        told += "did you mean GREET?" in caught.value.message
    assert told == 100
