"""Stand-ins for the masters that a class asked while it was recorded: they answer as those did.

May go in: which answer is given to what. May not: the class that is asked again (`player`).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterable
from typing import Any

from alephscript.client.client import AlephScriptClient
from alephscript.client.declaring import capability
from alephscript.errors import CapabilityError, error_from_answer
from alephscript.recording.lines import Record

__all__ = ["make_standins", "reply_of"]


def make_standins(
    records: Iterable[Record], rooms: Collection[str], masters: Collection[str]
) -> list[type[AlephScriptClient]]:
    """Make a master for each room that the masters of other rooms have asked.

    Args:
        records: A recording.
        rooms: Rooms that have a master, whose requests are answered.
        masters: The names that their masters had.
    """
    asking, scripts = set(), dict[str, dict[str, list[tuple[Any, Any]]]]()
    nested: dict[str, Record] = {}
    for record in records:
        if record["kind"] == "request" and record["room"] in rooms:
            asking.add(record["id"])
        elif record["kind"] == "request" and (
            record.get("inside") in asking or record["from"] in masters
        ):
            nested[record["id"]] = record
        elif record["kind"] == "answer" and record["id"] in nested:
            asked = nested[record["id"]]
            script = scripts.setdefault(asked["room"], {}).setdefault(asked["capability"], [])
            script.append((asked.get("payload"), record.get("answer")))
    return [_make_standin(room, capabilities) for room, capabilities in scripts.items()]


def _make_standin(
    room: str, capabilities: dict[str, list[tuple[Any, Any]]]
) -> type[AlephScriptClient]:
    methods = {
        f"answer_{number}": capability(name, room=room)(_make_method(script))
        for number, (name, script) in enumerate(capabilities.items())
    }
    return type("StandIn", (AlephScriptClient,), {"rooms": (room,), **methods})


def _make_method(script: list[tuple[Any, Any]]) -> Callable[..., Awaitable[Any]]:
    async def answer(_: AlephScriptClient, payload: Any) -> Any:
        if not script:
            raise CapabilityError("not_recorded", "this was not asked as often when recorded")
        # The answer to the same question, else the next one: ids may have changed.
        same = (index for index, (asked, _) in enumerate(script) if asked == payload)
        _, recorded = script.pop(next(same, 0))
        return reply_of(recorded)

    return answer


def reply_of(answer: Any) -> Any:
    """Return what an answer replies.

    Raises:
        RequestError: The answer is a failed one.
    """
    if not isinstance(answer, dict):
        return answer
    if answer.get("success") is False:
        raise error_from_answer(answer)
    fields = {key: each for key, each in answer.items() if key != "success"}
    return fields["result"] if fields.keys() == {"result"} else fields
