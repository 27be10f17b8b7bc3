"""Where a type stands in a contract, and the refusal of one that has no form there.

May go in: paths and their refusals. May not: which form a type has (`finding`).

Pure: no socket, no clock.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from alephscript.errors import DeclarationError

__all__ = ["Place", "refusal"]


@attrs.frozen
class Place:
    """Where a type stands.

    Attributes:
        path: Names of the class and of the fields that lead there.
        module: Module whose names a forward reference may use.
        variables: Arguments of the generic classes around it.
        is_strict: Whether unknown keys are refused.
    """

    path: tuple[str, ...] = ()
    module: str = ""
    variables: Mapping[Any, Any] = attrs.field(factory=dict, eq=False)
    is_strict: bool = False

    def step(self, name: str) -> Place:
        """Return the place of a part of it."""
        return attrs.evolve(self, path=(*self.path, name))

    def __str__(self) -> str:
        return ".".join(self.path).replace(".[", "[").replace(".{", "{")


def refusal(kind: Any, place: Place, advice: str = "") -> DeclarationError:
    """Make the error of a type that has no form.

    Args:
        kind: The type.
        place: Where it stands.
        advice: The way out; by default, a class with a form of its own.
    """
    where = f"{place}: " if place.path else ""
    name = kind.__qualname__ if isinstance(kind, type) else str(kind)
    advice = advice or (
        "take an attrs class, a dataclass, or give it a form by "
        f"alephscript.register_type({name}, …)"
    )
    return DeclarationError(f"{where}{name} has no JSON form; {advice}")
