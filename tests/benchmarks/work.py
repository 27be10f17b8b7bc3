"""The work, the same for every contender, and how a reply is told to belong to its request.

A requester asks `AVANZAR` with `question`; the hub passes it to the master of `ROOM`, who answers
with `answer`; that goes back to who asked. The master says `event` as `EVENT`, and all who are in
`ROOM` hear it. Names that the hub needs are those of the mesh.
"""

from __future__ import annotations

import json
from typing import Any

ROOM = "ARENA"
CAPABILITY = "AVANZAR"
ASKING = f"GET_{CAPABILITY}"
EVENT = "AVANCE"

HOST = "127.0.0.1"
NAMESPACE = "/runtime"
BACKLOG = 4096
"""Connections that may wait to be accepted, in the hubs written here."""

SESSION = "0d9b6c1e-52c7-4f6d-9a83-7e1f40c2b5aa"


def question(paso: int, relleno: str = "") -> dict[str, Any]:
    """What is asked, 72 bytes of JSON and the filling."""
    asked = {"sessionId": SESSION, "fiaIndex": 0, "paso": paso}
    return {**asked, "relleno": relleno} if relleno else asked


def answer(asked: dict[str, Any]) -> dict[str, Any]:
    """What the master answers, 160 bytes of JSON and the filling that came."""
    return {
        "success": True,
        "sessionId": asked["sessionId"],
        "fiaIndex": asked["fiaIndex"],
        "runState": "PLAY_STEP",
        "eferencia": {"tipo": "accion", "paso": asked["paso"], "accion": "girar a la derecha"},
        **({"relleno": asked["relleno"]} if "relleno" in asked else {}),
    }


def event(paso: int) -> dict[str, Any]:
    """What the master says, as long as an answer."""
    return answer(question(paso))


def fits(answered: dict[str, Any], paso: int, relleno: str = "") -> bool:
    """Whether a decoded answer is that of this very question."""
    return (
        answered["success"] is True
        and answered["eferencia"]["paso"] == paso
        and answered.get("relleno", "") == relleno
    )


def filling(size: int) -> str:
    """What makes a question ``size`` bytes of JSON, empty where it is that long anyway."""
    missing = size - len(json.dumps(question(0, "-"), separators=(",", ":"))) + 1
    sentence = "avanzar hasta el muro y girar; "
    return (sentence * (max(0, missing) // len(sentence) + 1))[: max(0, missing)]
