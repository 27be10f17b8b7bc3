"""Every way in which things go wrong, one class each.

May go in: exceptions that others may catch, and codes of the wire. May not: code that raises them.

The tree::

    AlephScriptError
    ├── DeclarationError        a class was declared wrongly; raised at import
    ├── StateError              a client, hub or mesh was used outside its life
    ├── ContractError           a value does not fit its contract; raised locally, before sending
    ├── ConnectionRefused       the hub, or its absence, refused the connection
    └── RequestError            a request ended without a result; one subclass a code
        ├── InvalidPayload      invalid_payload
        ├── UnknownCapability   unknown_capability
        ├── UnknownEvent        unknown_event
        ├── NoMaster            no_master
        ├── NoAnswerer          no_answerer
        ├── NotSubscribed       not_subscribed
        ├── AmbiguousRoom       ambiguous_room
        ├── DeadlineExceeded    deadline_exceeded   (also a TimeoutError)
        ├── Cancelled           cancelled
        ├── MasterLost          master_lost         (also a ConnectionError)
        ├── Overloaded          overloaded
        ├── LimitExceeded       limit_exceeded
        ├── PermissionDenied    permission_denied   (also a PermissionError)
        ├── Conflict            conflict
        ├── UnknownTask         unknown_task
        ├── PayloadTooLarge     payload_too_large
        ├── Internal            internal
        ├── NotConnected        not_connected       (local; also a ConnectionError)
        ├── LinkLost            link_lost           (local; also a ConnectionError)
        ├── Closed              closed              (local; also a ConnectionError)
        └── CapabilityError     whatever code the capability chose

Errors hold data and build their text from it. Pure: no socket, no clock.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, Self

__all__ = [
    "AlephScriptError",
    "AmbiguousRoom",
    "Cancelled",
    "CapabilityError",
    "Closed",
    "Conflict",
    "ConnectionRefused",
    "ContractError",
    "DeadlineExceeded",
    "DeclarationError",
    "Internal",
    "InvalidPayload",
    "LimitExceeded",
    "LinkLost",
    "MasterLost",
    "NoAnswerer",
    "NoMaster",
    "NotConnected",
    "NotSubscribed",
    "Overloaded",
    "PayloadTooLarge",
    "PermissionDenied",
    "RequestError",
    "StateError",
    "UnknownCapability",
    "UnknownEvent",
    "UnknownTask",
    "error_from_answer",
    "http_status",
]


class AlephScriptError(Exception):
    """The root of all exceptions that this package raises on purpose.

    All of them can be pickled and copied, as process pools and task queues do, subclasses of
    applications included, whatever arguments their constructors take.
    """

    def __reduce__(self) -> tuple[Any, ...]:
        return _restore, (type(self), self.args, self.__dict__)


def _restore(
    cls: type[AlephScriptError], args: tuple[Any, ...], state: Mapping[str, Any]
) -> AlephScriptError:
    """Make an error from its attributes; see `AlephScriptError.__reduce__`."""
    # Not by cls(…): a constructor may want arguments that an error does not keep.
    error = cls.__new__(cls)
    error.args = args
    error.__dict__.update(state)
    return error


class DeclarationError(AlephScriptError, TypeError):
    """A class, capability or contract is declared in a way that can never work.

    It is raised while the class body runs, so that a mistake shows at import.
    """


class StateError(AlephScriptError, RuntimeError):
    """A client, hub or mesh was used outside its life: not opened yet, opened twice, closed."""


class ContractError(AlephScriptError, ValueError):
    """A value does not fit its contract.

    Attributes:
        contract: Name of the contract.
        problems: All problems, each ``{"path": "percepto.tipo", "message": "…"}``.
    """

    def __init__(self, contract: str, problems: Sequence[Mapping[str, str]]) -> None:
        super().__init__(contract, problems)
        self.contract = contract
        self.problems = [dict(problem) for problem in problems]

    def __str__(self) -> str:
        listed = "; ".join(f"{p['path'] or 'payload'}: {p['message']}" for p in self.problems)
        return f"not a valid {self.contract}: {listed}"


class ConnectionRefused(AlephScriptError, ConnectionError):
    """A client could not connect to the hub.

    Attributes:
        url: The hub's address.
        reason: The hub's refusal, or the network's error.
        advice: A sentence about what to do.
        fatal: Whether trying again is pointless, since the hub itself refused.
    """

    def __init__(self, url: str, reason: str, advice: str = "", *, fatal: bool = False) -> None:
        super().__init__(url, reason, fatal)
        self.url = url
        self.reason = reason
        self.fatal = fatal
        self.advice = advice or (_CHECK_CREDENTIALS if fatal else _START_HUB)

    def __str__(self) -> str:
        return f"cannot connect to {self.url}: {self.reason}; {self.advice}"


_CHECK_CREDENTIALS = "check the credentials (token=, ALEPHSCRIPT_TOKEN) and the namespace"
_START_HUB = "is a hub running there? `alephscript hub` starts one"


class RequestError(AlephScriptError):
    """A request ended without a result.

    Attributes:
        code: Stable identifier of the reason, as on the wire.
        message: One sentence for a person.
        details: More about the reason, a list of JSON values.
        retryable: Whether the same request may succeed when it is repeated.
    """

    code: str = ""
    default_retryable: ClassVar[bool] = False

    def __new__(cls, *args: Any, **_: Any) -> Self:
        """Make an error with all attributes, whatever its class's constructor forgets to call."""
        error = super().__new__(cls, *args)
        error.__dict__.update(
            message=cls.code.replace("_", " "), details=[], retryable=cls.default_retryable
        )
        return error

    def __init__(
        self,
        message: str = "",
        details: Sequence[Any] = (),
        *,
        retryable: bool | None = None,
    ) -> None:
        super().__init__(message)
        self.args = (message,)  # OSError, a base of some, leaves them as `__new__` got them
        self.message = message or self.code.replace("_", " ")
        self.details = _list_of(details)
        self.retryable = self.default_retryable if retryable is None else retryable

    def __str__(self) -> str:
        return f"{self.message} [{self.code}]"

    def answer(self) -> dict[str, Any]:
        """Write the error as the answer to a request.

        Returns:
            ``{"success": False, "error", "code", "retryable", "details"}``.
        """
        return {
            "success": False,
            "error": self.message,
            "code": self.code,
            "retryable": self.retryable,
            "details": self.details,
        }


def _list_of(details: Any) -> list[Any]:
    """Return details as a list: what is no sequence, or a text, is one detail."""
    if details is None:
        return []
    if isinstance(details, str | bytes | Mapping) or not isinstance(details, Iterable):
        return [details]
    return list(details)


class InvalidPayload(RequestError):
    """The payload does not fit; ``details`` lists each problem as ``{path, message}``."""

    code = "invalid_payload"


class UnknownCapability(RequestError):
    """The master that was asked has no such capability."""

    code = "unknown_capability"


class UnknownEvent(RequestError):
    """The event means nothing to the hub, or its name is reserved."""

    code = "unknown_event"


class NoMaster(RequestError):
    """No member masters the room, or no master offers the capability."""

    code = "no_master"
    default_retryable = True


class NoAnswerer(RequestError):
    """A capability asks back, and its asker takes no questions, or is gone.

    `AlephScriptClient.request` takes them with ``on_ask``; peers of other packages do not.
    """

    code = "no_answerer"


class NotSubscribed(RequestError):
    """The asker is not in the room, and the hub requires that."""

    code = "not_subscribed"


class AmbiguousRoom(RequestError):
    """Several rooms offer the capability, the asker is in none: ``details`` names them."""

    code = "ambiguous_room"


class DeadlineExceeded(RequestError, TimeoutError):
    """The deadline passed before an answer came; ``details[0].delivered`` says whether the request
    may have run.

    With ``idle: true`` beside it, nothing was heard of the request for its ``idle_timeout``.
    """

    code = "deadline_exceeded"
    default_retryable = True


class Cancelled(RequestError):
    """The request was cancelled before it was answered."""

    code = "cancelled"


class MasterLost(RequestError, ConnectionError):
    """The master's link was lost, or another master took over, while the request was open.

    ``details[0]["delivered"]`` says whether the request had been handed to the master, that is
    whether the request may have run.
    """

    code = "master_lost"
    default_retryable = True


class Overloaded(RequestError):
    """A queue on the way is full, or the hub or the master is closing; the request did not run."""

    code = "overloaded"
    default_retryable = True


class LimitExceeded(RequestError):
    """One client would have more rooms, or one room more members, than the hub allows."""

    code = "limit_exceeded"


class PermissionDenied(RequestError, PermissionError):
    """The hub's rule of access does not allow this; ``details`` name ``room`` and ``action``."""

    code = "permission_denied"


class Conflict(RequestError):
    """The request contradicts the present state, or has too long a chain of requests above it."""

    code = "conflict"


class UnknownTask(RequestError):
    """There is no such task, or none that this client may know of."""

    code = "unknown_task"


class PayloadTooLarge(RequestError):
    """The payload is larger than the hub takes, or nested deeper than 64 levels."""

    code = "payload_too_large"


class Internal(RequestError):
    """The master failed; ``details[0].incident`` finds the traceback in the master's log."""

    code = "internal"


class NotConnected(RequestError, ConnectionError):
    """There is no link to the hub at the moment; nothing was sent."""

    code = "not_connected"
    default_retryable = True


class LinkLost(RequestError, ConnectionError):
    """The client's link was lost after the request was sent; the request may have run."""

    code = "link_lost"
    default_retryable = True


class Closed(RequestError, ConnectionError):
    """The client was closed while the request was waiting."""

    code = "closed"


class CapabilityError(RequestError):
    """A failure in a capability's own words: the asker sees code, message and details as written.

    A subclass may fix the code; an answer with that code is then raised as that subclass
    wherever the subclass has been imported. An error off the wire carries code, message, details
    and retryable, not what the subclass' own constructor adds::

        class SessionNotFound(CapabilityError, code="session_not_found"):
            def __init__(self, session_id: str) -> None:
                super().__init__(message=f"there is no session {session_id!r}")
    """

    def __init_subclass__(cls, code: str = "") -> None:
        super().__init_subclass__()
        if not code:
            return
        owner = _CLASSES.setdefault(code, cls)
        if owner.__qualname__ != cls.__qualname__ or owner.__module__ != cls.__module__:
            raise DeclarationError(f"error code {code!r} already belongs to {owner.__qualname__}")
        cls.code = code

    def __init__(
        self,
        code: str = "",
        message: str = "",
        details: Sequence[Any] = (),
        *,
        retryable: bool | None = None,
    ) -> None:
        self.code = code or self.code or "error"
        super().__init__(message, details, retryable=retryable)


_CLASSES: dict[str, type[RequestError]] = {
    cls.code: cls for cls in RequestError.__subclasses__() if cls.code
}


def error_from_answer(answer: Mapping[str, Any]) -> RequestError:
    """Make the exception that a failed answer stands for.

    Args:
        answer: A ``{"success": false, …}`` object from any peer; one without a code, as peers of
            the documented and core dialects send, becomes a `CapabilityError` of code ``error``.
    """
    code = answer.get("code")
    message = answer.get("error")
    details = answer.get("details")
    retryable = answer.get("retryable")
    code = code if isinstance(code, str) and code else "error"
    cls = _CLASSES.get(code, CapabilityError)
    # Not by cls(…): an application's subclass may want arguments that the wire does not have.
    for each in (cls, CapabilityError):
        error = each.__new__(each)
        try:
            error.code = code
            RequestError.__init__(
                error,
                message if isinstance(message, str) else "",
                details if isinstance(details, list) else (),
                retryable=retryable if isinstance(retryable, bool) else None,
            )
        except AttributeError:
            continue  # an application's class computes what the wire brings
        break
    return error


_HTTP_STATUS = {
    InvalidPayload.code: 400,
    UnknownEvent.code: 400,
    AmbiguousRoom.code: 400,
    "unauthorized": 401,
    PermissionDenied.code: 403,
    NotSubscribed.code: 403,
    NoMaster.code: 404,
    UnknownCapability.code: 404,
    UnknownTask.code: 404,
    Conflict.code: 409,
    NoAnswerer.code: 409,
    PayloadTooLarge.code: 413,
    Overloaded.code: 429,
    LimitExceeded.code: 429,
    Internal.code: 500,
    MasterLost.code: 502,
    LinkLost.code: 502,
    NotConnected.code: 503,
    Closed.code: 503,
    Cancelled.code: 503,
    DeadlineExceeded.code: 504,
}


def http_status(error: AlephScriptError | str) -> int:
    """Choose the status by which an HTTP server answers when a request of the mesh has failed.

    Args:
        error: An error, or the code of one.

    Returns:
        An HTTP status. It is 422 for a code of an application; 503 while there is no link, or the
        hub refused the connection; 500 for an error that no request ends with, and for a reply that
        breaks its contract.
    """
    if isinstance(error, str):
        return _HTTP_STATUS.get(error, 422)
    if isinstance(error, RequestError):
        return _HTTP_STATUS.get(error.code, 422)
    return 503 if isinstance(error, ConnectionRefused) else 500
