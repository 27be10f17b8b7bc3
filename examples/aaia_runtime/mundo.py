"""The mundo: a model, days that pass, and an end."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Self

from alephscript.aaia import Eferencia, MundoConfig, Percepto
from alephscript.contracts import unstructure
from examples.aaia_runtime.errors import PathNotFound, PerceptoTooDeep, PerceptoTooLarge

__all__ = ["EL_MUNDO_ACABARA", "MAX_BYTES", "MAX_NESTING", "Mundo", "json_bytes", "look_up"]

EL_MUNDO_ACABARA = "elMundoAcabara"
"""The state of a mundo whose last day is over."""

MAX_NESTING = 32
"""Levels of a percepto's payload; the mesh carries 64, and the mundo is told around it."""

MAX_BYTES = 100_000
"""Of a percepto's JSON. The mundo is told with its last percepto and with an eferencia that may
repeat it; a hub cuts off who sends a message over its limit, 1 MB unless told otherwise."""

_BEGINNING: Mapping[str, Any] = MappingProxyType(
    {
        "dia": 0,
        "muerte": 1000,
        "pulso": 200,
        "dominio": {"base": []},
        "estado": "inicio",
        "ciclo": 0,
    }
)


class Mundo:
    """A world for FIAs.

    Args:
        config: Name, renderer and what its model begins with, over the defaults.
        modelo: What its model begins with, over the app's own.

    Attributes:
        modelo: ``dia`` of ``muerte``, ``pulso`` in milliseconds, ``dominio``, ``estado``,
            ``ciclo`` (perceptos and steps so far), ``ultimoPercepto``, ``ultimaEferencia``.
    """

    def __init__(self, config: MundoConfig, modelo: Mapping[str, Any] | None = None) -> None:
        self.nombre = config.nombre
        self.renderer = config.renderer
        self.modelo: dict[str, Any] = copy.deepcopy(
            {**_BEGINNING, "nombre": config.nombre, **config.modelo_inicial, **(modelo or {})}
        )

    @property
    def vivo(self) -> bool:
        """Whether a day is left."""
        return bool(self.modelo["dia"] < self.modelo["muerte"])

    @property
    def pulso(self) -> float:
        """Seconds from one pulse to the next."""
        return float(self.modelo["pulso"]) / 1000

    def copy(self) -> Self:
        """Another mundo in the same state; what happens in one leaves the other as it is."""
        return copy.deepcopy(self)

    def dawn(self) -> None:
        """Begin a day."""
        self.modelo["dia"] += 1

    def end(self) -> None:
        """Say that the last day is over."""
        self.modelo["estado"] = EL_MUNDO_ACABARA

    def perceive(self, percepto: Percepto) -> None:
        """Keep a percepto as the last one.

        Raises:
            PerceptoTooDeep: It is nested deeper than `MAX_NESTING`.
            PerceptoTooLarge: It has more than `MAX_BYTES`.
        """
        if _deeper(percepto.payload, MAX_NESTING):
            raise PerceptoTooDeep(MAX_NESTING)
        encoded = unstructure(percepto)
        if json_bytes(encoded) > MAX_BYTES:
            raise PerceptoTooLarge(MAX_BYTES)
        self._keep("ultimoPercepto", encoded)

    def receive(self, eferencia: Eferencia) -> None:
        """Keep an eferencia as the last one."""
        self._keep("ultimaEferencia", unstructure(eferencia))

    def _keep(self, key: str, encoded: Any) -> None:
        self.modelo[key] = encoded
        self.modelo["ciclo"] += 1


def look_up(whole: Any, path: str) -> Any:
    """What stands at a dotted path.

    Args:
        whole: JSON values, to look into.
        path: ``modelo.ciclo``, ``modelo.dominio.base.0``; ``*`` for all of it.

    Raises:
        PathNotFound: Nothing stands there.
    """
    found = whole
    for key in [] if path == "*" else path.split("."):
        if isinstance(found, dict) and key in found:
            found = found[key]
        elif isinstance(found, list) and _is_index(key, len(found)):
            found = found[int(key)]
        else:
            raise PathNotFound(path)
    return found


def json_bytes(value: Any) -> int:
    """How much room JSON values take in a message."""
    return len(json.dumps(value, ensure_ascii=False).encode(errors="replace"))


def _is_index(key: str, count: int) -> bool:
    # By its length first: int() refuses thousands of digits with an error of its own.
    return key.isdecimal() and len(key) <= len(str(count)) and int(key) < count


def _deeper(value: Any, levels: int) -> bool:
    level = [value]
    for _ in range(levels):
        level = [
            child
            for node in level
            for child in (node.values() if isinstance(node, dict) else node)
            if isinstance(child, dict | list | tuple)
        ]
    return bool(level)
