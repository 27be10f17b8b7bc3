"""The catalogue of apps, and the classes that their FIAs are made of."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType

from alephscript.aaia import AppFIA, AppInfo, MundoConfig
from examples.aaia_runtime.errors import AppNotFound
from examples.aaia_runtime.fia import FIA
from examples.aaia_runtime.logica import FIALogica
from examples.aaia_runtime.sbr import FIASBR
from examples.aaia_runtime.situada import FIASituada

__all__ = ["DEMOS", "FIA_CLASSES", "AppsService", "MakeFIA"]

MakeFIA = Callable[[int, AppFIA], FIA]
"""A class of FIAs, or what makes one, of its place in its session and its catalogue's entry."""

FIA_CLASSES: Mapping[str, type[FIA]] = MappingProxyType(
    {"FIALogica": FIALogica, "FIASBR": FIASBR, "FIASituada": FIASituada}
)
"""What a catalogue's ``clase`` may name."""

_LOGICA = AppFIA(
    nombre="LogicaFIA",
    paradigma="logica",
    clase="FIALogica",
    config={
        "programa": [
            "q(a).",
            "r(a,b).",
            "r(b,b).",
            "p(X,Y) := q(X) and r(Y,Z).",
            "p(X,Y) := q(X) and q(Y).",
        ]
    },
)
_SBR = AppFIA(
    nombre="SBRFIA",
    paradigma="sbr",
    clase="FIASBR",
    config={
        "reglas": [
            """(defrule ventilar
                 (percepto (clave "temperatura") (valor ?t&:(numberp ?t)))
                 (test (> ?t 30))
                 => (assert (accion (nombre "ventilar") (detalle ?t))))""",
            """(defrule alarma
                 (percepto (clave "humo") (valor TRUE))
                 => (assert (accion (nombre "alarma"))))""",
            """(defrule evacuar
                 (accion (nombre "alarma"))
                 (accion (nombre "ventilar"))
                 => (assert (accion (nombre "evacuar"))))""",
        ]
    },
)
_SITUADA = AppFIA(
    nombre="SituadaFIA",
    paradigma="situada",
    clase="FIASituada",
    config={
        "estados": ["inicio", "explora", "esquiva", "descansa"],
        "transiciones": [
            {"trigger": "pulso", "source": "inicio", "dest": "explora"},
            {"trigger": "pulso", "source": "esquiva", "dest": "explora"},
            {"trigger": "obstaculo", "source": "explora", "dest": "esquiva"},
            {"trigger": "noche", "source": ["explora", "esquiva"], "dest": "descansa"},
            {"trigger": "amanecer", "source": "descansa", "dest": "explora"},
        ],
    },
)


def _demo(app_id: str, nombre: str, paradigma: str, descripcion: str, *fias: AppFIA) -> AppInfo:
    return AppInfo(
        id=app_id,
        nombre=nombre,
        descripcion=descripcion,
        paradigma_principal=paradigma,
        fias=list(fias),
        mundo_config=MundoConfig(nombre=f"Mundo de {nombre}", modelo_inicial={}, renderer="texto"),
    )


DEMOS = (
    _demo("demo-logica", "Demo Lógica", "logica", "Resolution over facts and rules.", _LOGICA),
    _demo("demo-sbr", "Demo SBR", "sbr", "Production rules over perceptos.", _SBR),
    _demo("demo-situada", "Demo Situada", "situada", "An automaton in its mundo.", _SITUADA),
    _demo("demo-hibrida", "Demo Híbrida", "hibrido", "Logic and rules, one mundo.", _LOGICA, _SBR),
)


class AppsService:
    """Knows the apps.

    What it takes and gives is copied: nobody changes the catalogue, or another's session.

    Args:
        apps: The catalogue; the four demos by default.
        classes: What their FIAs are made of, by ``clase``.

    Raises:
        ValueError: An app names a class that is not there.
    """

    def __init__(
        self,
        apps: Iterable[AppInfo] = DEMOS,
        classes: Mapping[str, MakeFIA] = FIA_CLASSES,
    ) -> None:
        self._apps = {app.id: copy.deepcopy(app) for app in apps}
        self._classes = dict(classes)
        for app in self._apps.values():
            for fia in app.fias:
                if fia.clase not in self._classes:
                    raise ValueError(f"app {app.id}: there is no FIA class {fia.clase}")

    def list_apps(self) -> list[AppInfo]:
        """All of them."""
        return copy.deepcopy(list(self._apps.values()))

    def app(self, app_id: str) -> AppInfo:
        """One of them.

        Raises:
            AppNotFound: There is none of that id.
        """
        try:
            return copy.deepcopy(self._apps[app_id])
        except KeyError:
            raise AppNotFound(app_id) from None

    def make_fias(self, app: AppInfo) -> list[FIA]:
        """Fresh FIAs for a session."""
        return [self._classes[each.clase](index, each) for index, each in enumerate(app.fias)]
