"""The mundo: a model, days that pass, and an end."""

from __future__ import annotations

import copy
from typing import Any

from alephscript.aaia import Eferencia, MundoConfig, Percepto
from alephscript.contracts import encode
from examples.aaia_runtime.errors import PathNotFound

__all__ = ["EL_MUNDO_ACABARA", "Mundo"]

EL_MUNDO_ACABARA = "elMundoAcabara"
"""The state of a mundo whose last day is over."""

_BEGINNING: dict[str, Any] = {
    "dia": 0,
    "muerte": 1000,
    "pulso": 200,
    "dominio": {"base": []},
    "estado": "inicio",
    "ciclo": 0,
}


class Mundo:
    """A world for FIAs.

    Args:
        config: Name, renderer and what its model begins with, over the defaults.

    Attributes:
        modelo: ``dia`` of ``muerte``, ``pulso`` in milliseconds, ``dominio``, ``estado``,
            ``ciclo`` (perceptos and steps so far), ``ultimoPercepto``, ``ultimaEferencia``.
    """

    def __init__(self, config: MundoConfig) -> None:
        self.nombre = config.nombre
        self.renderer = config.renderer
        self.modelo: dict[str, Any] = copy.deepcopy(
            {**_BEGINNING, "nombre": config.nombre, **config.modelo_inicial}
        )

    @property
    def vivo(self) -> bool:
        """Whether a day is left."""
        return bool(self.modelo["dia"] < self.modelo["muerte"])

    @property
    def pulso(self) -> float:
        """Seconds from one pulse to the next."""
        return float(self.modelo["pulso"]) / 1000

    def dawn(self) -> None:
        """Begin a day; the last one ends the mundo."""
        self.modelo["dia"] += 1
        if not self.vivo:
            self.modelo["estado"] = EL_MUNDO_ACABARA

    def perceive(self, percepto: Percepto) -> None:
        """Keep a percepto as the last one."""
        self.modelo["ciclo"] += 1
        self.modelo["ultimoPercepto"] = encode(percepto)

    def receive(self, eferencia: Eferencia) -> None:
        """Keep an eferencia as the last one."""
        self.modelo["ciclo"] += 1
        self.modelo["ultimaEferencia"] = encode(eferencia)

    def query(self, path: str, whole: Any) -> Any:
        """What stands at a dotted path.

        Args:
            path: ``modelo.ciclo``, ``modelo.dominio.base.0``; ``*`` for all of it.
            whole: The mundo as the wire shows it, to look into.

        Raises:
            PathNotFound: Nothing stands there.
        """
        found = whole
        for key in [] if path == "*" else path.split("."):
            if isinstance(found, dict) and key in found:
                found = found[key]
            elif isinstance(found, list) and key.isdecimal() and int(key) < len(found):
                found = found[int(key)]
            else:
                raise PathNotFound(path)
        return found
