"""The AAIA contract: what PersefonBot offers in AAIA_ROOM, and what it tells the room.

A FIA is a small AI of one paradigma, and lives in a mundo. A percepto stimulates the mundo; the
share of it that reaches a FIA is that FIA's aferencia, the FIA's output is its eferencia.

Over 500 lines, since each argument is described, for whoever sees the schema alone.

May go in: contracts, data only. May not: what is done with them (``examples/aaia_runtime``).
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any

import attrs

from alephscript.contracts import RequestFor

__all__ = [
    "AAIA_ROOM",
    "ENGINE_THREADS",
    "ENGINE_THREADS_ROOM",
    "AppFIA",
    "AppInfo",
    "Apps",
    "CreateSession",
    "DestroySession",
    "Eferencia",
    "EferenciaEmitted",
    "EferenciaOf",
    "FIAInfo",
    "FIAStep",
    "FIAs",
    "GetApps",
    "GetEferencia",
    "GetListOfThreads",
    "ListFIAs",
    "ListSessions",
    "MundoChanged",
    "MundoConfig",
    "MundoState",
    "PauseFIA",
    "Percepto",
    "PerceptoProcessed",
    "PerceptoSent",
    "PlayFIA",
    "QueryMundo",
    "QueryResult",
    "RunState",
    "SendPercepto",
    "Session",
    "SessionCreated",
    "SessionDestroyed",
    "SessionGone",
    "SessionMeta",
    "SessionOpened",
    "Sessions",
    "StartFIA",
    "StateChange",
    "StepFIA",
    "StepResult",
    "StopFIA",
    "ThreadInfo",
    "Threads",
    "TipoEferencia",
    "TipoPercepto",
]

AAIA_ROOM = "AAIA_ROOM"
ENGINE_THREADS_ROOM = "ENGINE_THREADS_ROOM"
ENGINE_THREADS = "ENGINE_THREADS"
"""The name that peers of the upstream SDK have for ENGINE_THREADS_ROOM."""


class RunState(StrEnum):
    """State of a FIA: running by its mundo's pulse, one step of it, held, or stopped."""

    PLAY = "PLAY"
    PLAY_STEP = "PLAY_STEP"
    PAUSE = "PAUSE"
    STOP = "STOP"


class TipoPercepto(StrEnum):
    """Origin of a percepto."""

    SENSOR = "sensor"
    EVENTO = "evento"
    COMANDO = "comando"


class TipoEferencia(StrEnum):
    """Kind of an eferencia; ``noop`` says that the FIA had nothing to put out."""

    ACCION = "accion"
    DATO = "dato"
    EVENTO = "evento"
    ESTADO = "estado"
    NOOP = "noop"


# The things of the domain.


@attrs.frozen
class Percepto:
    """A stimulus to a mundo."""

    tipo: TipoPercepto
    payload: dict[str, Any]
    fuente: str | None = None
    timestamp: datetime | None = None


@attrs.frozen
class Eferencia:
    """The output of a FIA."""

    tipo: TipoEferencia
    payload: dict[str, Any]
    timestamp: datetime | None = None


@attrs.frozen
class AppFIA:
    """One FIA of an app, as the app's catalogue entry describes it."""

    nombre: str
    paradigma: str
    clase: str
    modulo: str | None = None
    run_async: bool | None = None
    config: dict[str, Any] | None = None


@attrs.frozen
class MundoConfig:
    """The mundo that an app's sessions start with."""

    nombre: str
    modelo_inicial: dict[str, Any]
    renderer: str


@attrs.frozen
class AppInfo:
    """An app: FIAs and the mundo they live in, from which sessions are made."""

    id: str
    nombre: str
    paradigma_principal: str
    fias: list[AppFIA]
    mundo_config: MundoConfig
    descripcion: str | None = None


@attrs.frozen
class MundoState:
    """A mundo as it stands; ``modelo`` is its model, free of shape."""

    nombre: str
    vivo: bool
    run_state: RunState
    modelo: dict[str, Any]
    fias_count: int
    renderer: str | None = None


@attrs.frozen
class FIAInfo:
    """A FIA of a session."""

    index: int
    nombre: str
    paradigma: str
    run_state: RunState
    run_async: bool
    capacidades: list[str] | None = None
    prolog_session_id: str | None = None


@attrs.frozen
class Session:
    """A session: one isolated instance of an app."""

    session_id: str
    app_id: str
    created_at: datetime
    last_used_at: datetime
    mundo: MundoState
    fias: list[FIAInfo]


@attrs.frozen
class SessionMeta:
    """A session in a list."""

    session_id: str
    app_id: str
    created_at: datetime
    last_used_at: datetime
    age_minutes: float
    fias_count: int
    mundo_state: MundoState


@attrs.frozen
class ThreadInfo:
    """A FIA in the list of all threads; ``mundo`` is the name of its mundo."""

    index: int
    nombre: str
    paradigma: str
    run_state: RunState
    mundo: str | None


# Answers of capabilities.


@attrs.frozen
class Apps:
    """The apps there are."""

    apps: list[AppInfo]
    count: int


@attrs.frozen
class SessionOpened:
    """A new session; the three flat keys repeat what upstream's clients read."""

    session: Session
    session_id: str
    app_id: str
    fias_count: int


@attrs.frozen
class Sessions:
    """The sessions there are."""

    sessions: list[SessionMeta]
    count: int


@attrs.frozen
class SessionGone:
    """A destroyed session."""

    session_id: str
    message: str


@attrs.frozen
class FIAs:
    """The FIAs of a session."""

    fias: list[FIAInfo]
    count: int


@attrs.frozen
class StateChange:
    """A FIA's state before and after."""

    fia_index: int
    previous_state: RunState
    new_state: RunState


@attrs.frozen
class StepResult:
    """One reasoning step of a FIA."""

    fia_index: int
    run_state: RunState
    cycles: int
    eferencia: Eferencia
    execution_time_ms: float


@attrs.frozen
class PerceptoProcessed:
    """The indexes of the FIAs that a percepto reached."""

    processed_by: list[int]


@attrs.frozen
class EferenciaOf:
    """The last eferencia of a FIA, None before its first step."""

    eferencia: Eferencia | None


@attrs.frozen
class QueryResult:
    """A mundo, and the value at the query's dotted path in it."""

    mundo: MundoState
    result: Any = None


@attrs.frozen
class Threads:
    """Every FIA of every session."""

    threads: list[ThreadInfo]


# Requests.


@attrs.frozen
class GetApps(RequestFor[Apps], capability="AAIA_GET_APPS"):
    """Which apps are there?"""


@attrs.frozen
class CreateSession(RequestFor[SessionOpened], capability="AAIA_CREATE_SESSION"):
    """Make a session of an app. Codes: ``app_not_found``, ``overloaded``.

    Attributes:
        app_id: The app's id.
    """

    app_id: str


@attrs.frozen
class ListSessions(RequestFor[Sessions], capability="AAIA_LIST_SESSIONS"):
    """Which sessions are there?"""


@attrs.frozen
class DestroySession(RequestFor[SessionGone], capability="AAIA_DESTROY_SESSION"):
    """End a session. Codes: ``session_not_found``.

    Attributes:
        session_id: The session's id.
    """

    session_id: str


@attrs.frozen
class ListFIAs(RequestFor[FIAs], capability="AAIA_LIST_FIAS"):
    """Which FIAs does a session have? Codes: ``session_not_found``.

    Attributes:
        session_id: The session's id.
    """

    session_id: str


@attrs.frozen
class StartFIA(RequestFor[StateChange], capability="AAIA_START_FIA"):
    """As `PlayFIA`. Codes: ``session_not_found``, ``fia_not_found``, ``invalid_state``.

    Attributes:
        session_id: The session's id.
        fia_index: The FIA's index in its session, from 0.
    """

    session_id: str
    fia_index: int


@attrs.frozen
class StopFIA(RequestFor[StateChange], capability="AAIA_STOP_FIA"):
    """End a FIA's run. Codes: ``session_not_found``, ``fia_not_found``.

    Attributes:
        session_id: The session's id.
        fia_index: The FIA's index in its session, from 0.
    """

    session_id: str
    fia_index: int


@attrs.frozen
class StepFIA(RequestFor[StepResult], capability="AAIA_STEP_FIA"):
    """One reasoning step. Codes: ``session_not_found``, ``fia_not_found``, ``invalid_state``.

    Attributes:
        session_id: The session's id.
        fia_index: The FIA's index in its session, from 0.
    """

    session_id: str
    fia_index: int


@attrs.frozen
class PlayFIA(RequestFor[StateChange], capability="AAIA_PLAY_FIA"):
    """Run by the pulse. Codes: ``session_not_found``, ``fia_not_found``, ``invalid_state``.

    Attributes:
        session_id: The session's id.
        fia_index: The FIA's index in its session, from 0.
    """

    session_id: str
    fia_index: int


@attrs.frozen
class PauseFIA(RequestFor[StateChange], capability="AAIA_PAUSE_FIA"):
    """Hold a FIA. Codes: ``session_not_found``, ``fia_not_found``, ``invalid_state``.

    Attributes:
        session_id: The session's id.
        fia_index: The FIA's index in its session, from 0.
    """

    session_id: str
    fia_index: int


@attrs.frozen
class SendPercepto(RequestFor[PerceptoProcessed], capability="AAIA_SEND_PERCEPTO"):
    """Stimulate a session's mundo.

    Codes: ``session_not_found``, ``invalid_state``, ``invalid_payload``, ``payload_too_large``.

    Attributes:
        session_id: The session's id.
        percepto: The stimulus.
    """

    session_id: str
    percepto: Percepto


@attrs.frozen
class GetEferencia(RequestFor[EferenciaOf], capability="AAIA_GET_EFERENCIA"):
    """The last output of a FIA. Codes: ``session_not_found``, ``fia_not_found``.

    Attributes:
        session_id: The session's id.
        fia_index: The FIA's index in its session, from 0.
    """

    session_id: str
    fia_index: int


@attrs.frozen
class QueryMundo(RequestFor[QueryResult], capability="AAIA_QUERY_MUNDO"):
    """A session's mundo; ``query`` is a dotted path into it, ``*`` is all of it.

    Codes: ``session_not_found``, ``path_not_found``.

    Attributes:
        session_id: The session's id.
        query: The path; by default all.
    """

    session_id: str
    query: str | None = None


@attrs.frozen
class GetListOfThreads(RequestFor[Threads], capability="GET_LIST_OF_THREADS"):
    """Every FIA of every session."""


# Events of the room.


@attrs.frozen
class SessionCreated:
    """SESSION_CREATED."""

    session_id: str
    app_id: str
    timestamp: datetime
    fias_count: int | None = None


@attrs.frozen
class SessionDestroyed:
    """SESSION_DESTROYED."""

    session_id: str
    timestamp: datetime


@attrs.frozen
class FIAStep:
    """FIA_STEP, with the keys that observers of either dialect read."""

    session_id: str
    fia_index: int
    eferencia: Eferencia
    timestamp: datetime
    run_state: RunState | None = None
    ciclo: int | None = None


@attrs.frozen
class EferenciaEmitted:
    """EFERENCIA."""

    session_id: str
    fia_index: int
    eferencia: Eferencia
    timestamp: datetime


@attrs.frozen
class MundoChanged:
    """MUNDO_STATE."""

    session_id: str
    mundo: MundoState
    timestamp: datetime


@attrs.frozen
class PerceptoSent:
    """PERCEPTO."""

    session_id: str
    percepto: Percepto
    processed_by: list[int]
    timestamp: datetime
