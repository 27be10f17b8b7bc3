"""How the runtime says no; each code is an exception of its own."""

from __future__ import annotations

from alephscript import CapabilityError

__all__ = ["AppNotFound", "FIANotFound", "InvalidState", "PathNotFound", "SessionNotFound"]


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
