"""What a FIA that thinks with a model says and asks on its way, and who attends to it.

May go in: data, and the protocols between a thinking FIA and the world outside. May not: a model
(`conexionista`), a mesh (`examples/mesh_tools.py`, `examples/attending.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Any, Protocol

import attrs

from alephscript import Question, RequestFor
from alephscript.aaia import StepResult

__all__ = [
    "Approval",
    "Approve",
    "Attendant",
    "ThinkFIA",
    "Thought",
    "TipoThought",
    "Tool",
    "Tools",
]


class TipoThought(StrEnum):
    """Kind of a thought."""

    TEXTO = "texto"
    HERRAMIENTA = "herramienta"
    RESULTADO = "resultado"
    PASO = "paso"


@attrs.frozen
class Thought:
    """A part of a step: a piece of the answer, a tool that is used, its result, or the step's end.

    Attributes:
        tipo: Which of them.
        texto: The piece of the answer, or of the tool's result.
        tool: The capability that is used.
        payload: What it is asked.
        paso: The step, in the last part.
    """

    tipo: TipoThought
    texto: str | None = None
    tool: str | None = None
    payload: Any = None
    paso: StepResult | None = None


@attrs.frozen
class ThinkFIA(RequestFor[Thought], capability="AAIA_THINK_FIA"):
    """One reasoning step, part by part. Codes: as AAIA_STEP_FIA.

    Attributes:
        session_id: The session's id.
        fia_index: The FIA's index in its session, from 0.
    """

    session_id: str
    fia_index: int


@attrs.frozen
class Approval:
    """The answer of somebody who was asked.

    Attributes:
        yes: Whether it may be done.
    """

    yes: bool


@attrs.frozen
class Approve(RequestFor[Approval], capability="AAIA_APPROVE"):
    """May a FIA use a capability that may undo or delete what others keep?

    Attributes:
        what: A sentence about what would be done.
        room: The room that would be asked.
        tool: The capability.
        payload: What it would be asked.
    """

    what: str
    room: str
    tool: str
    payload: dict[str, Any]


class Attendant(Protocol):
    """Whoever a step is made for."""

    async def hear(self, thought: Thought) -> None:
        """Take a thought, as soon as there is time for it."""
        ...

    async def approve(self, question: Approve) -> bool:
        """Say whether a tool may be used.

        Raises:
            RequestError: There is no answer.
        """
        ...

    async def answer(self, question: Question[Any]) -> Any:
        """Answer what a tool asks back.

        Raises:
            RequestError: There is no answer.
        """
        ...


@attrs.frozen
class Tool:
    """A capability of the mesh as a model sees it.

    Attributes:
        name: Letters, digits, ``_`` and ``-``, 64 at the most; each name once.
        description: What it does.
        schema: JSON Schema of an object: what it takes.
        room: The room that is asked.
        capability: The capability that is asked.
        is_dangerous: Whether somebody is asked before.
        wraps_payload: Whether the payload is one argument, ``payload``, since it is no object.
    """

    name: str
    description: str
    schema: dict[str, Any]
    room: str
    capability: str
    is_dangerous: bool = False
    wraps_payload: bool = False


class Tools(Protocol):
    """What a FIA may do in the world outside."""

    async def find(self) -> Sequence[Tool]:
        """The tools that there are now; none if nobody can say."""
        ...

    async def use(self, tool: Tool, payload: Any, attendant: Attendant | None) -> str:
        """Use one.

        Args:
            tool: The tool.
            payload: What it is asked.
            attendant: Whoever answers what the tool asks back; None if nobody does.

        Returns:
            Its answer, for a model to read.

        Raises:
            RequestError: There is no answer.
        """
        ...
