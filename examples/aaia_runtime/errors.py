"""How the runtime says no; each code is an exception of its own."""

from __future__ import annotations

from alephscript import CapabilityError

__all__ = [
    "AppNotFound",
    "FIANotFound",
    "InvalidState",
    "PathNotFound",
    "PerceptoTooDeep",
    "PerceptoTooLarge",
    "SessionNotFound",
    "StepStopped",
    "TooManyRuns",
    "TooManySessions",
]


class AppNotFound(CapabilityError, code="app_not_found"):
    """No app has that id."""

    def __init__(self, app_id: str) -> None:
        super().__init__(message=f"App not found: {app_id}")


class SessionNotFound(CapabilityError, code="session_not_found"):
    """No session has that id, or it was idle for too long."""

    def __init__(self, session_id: str) -> None:
        super().__init__(message=f"Session not found: {session_id}")


class FIANotFound(CapabilityError, code="fia_not_found"):
    """The session has no FIA of that index."""

    def __init__(self, fia_index: int, count: int) -> None:
        super().__init__(message=f"FIA not found: {fia_index}; the session has 0 to {count - 1}")


class PathNotFound(CapabilityError, code="path_not_found"):
    """The mundo has nothing at that path."""

    def __init__(self, path: str) -> None:
        super().__init__(message=f"Path not found in the mundo: {path}")


class InvalidState(CapabilityError, code="invalid_state"):
    """What was asked cannot be done in the present state."""

    def __init__(self, reason: str) -> None:
        super().__init__(message=reason)


class StepStopped(InvalidState):
    """A step was stopped before it had an end."""

    def __init__(self, nombre: str) -> None:
        super().__init__(f"the step of {nombre} was stopped")


class PerceptoTooDeep(CapabilityError):
    """A percepto is nested so deeply that the mundo that keeps it could not be sent.

    The code is the mesh's own ``invalid_payload``: to the asker it is one more of those.
    """

    def __init__(self, levels: int) -> None:
        message = f"nested deeper than {levels} levels"
        super().__init__(
            "invalid_payload",
            f"not a valid Percepto: payload: {message}",
            [{"path": "percepto.payload", "message": message}],
        )


class PerceptoTooLarge(CapabilityError):
    """A percepto is so large that the mundo that keeps it could not be sent.

    The code is the mesh's own ``payload_too_large``.
    """

    def __init__(self, limit: int) -> None:
        super().__init__("payload_too_large", f"a percepto may have {limit} bytes of JSON")


class TooManySessions(CapabilityError):
    """There is no room for another session until one has ended.

    The code is the mesh's own ``overloaded``.
    """

    def __init__(self, limit: int) -> None:
        message = f"there are {limit} sessions already; destroy one first"
        super().__init__("overloaded", message, retryable=True)


class TooManyRuns(CapabilityError):
    """So many tasks wait for the end of a run that another one has to wait elsewhere.

    The code is the mesh's own ``overloaded``.
    """

    def __init__(self, limit: int) -> None:
        message = f"{limit} tasks play already; stop one first"
        super().__init__("overloaded", message, retryable=True)
