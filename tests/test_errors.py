"""Errors: one class a code, the same data on both sides of the wire."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest

from alephscript import errors
from alephscript.errors import (
    AlephScriptError,
    CapabilityError,
    ConnectionRefused,
    ContractError,
    DeclarationError,
    Internal,
    NoMaster,
    RequestError,
    StateError,
    error_from_answer,
)

CLASSES = sorted(
    (cls for cls in RequestError.__subclasses__() if cls.code), key=lambda cls: cls.code
)

# The codes that hubs and peers send, then those that only the own client raises.
CODES = [
    *(
        "invalid_payload",
        "unknown_capability",
        "unknown_event",
        "no_master",
        "no_answerer",
        "not_subscribed",
        "limit_exceeded",
    ),
    *("ambiguous_room", "deadline_exceeded", "cancelled", "master_lost", "overloaded"),
    "unknown_task",
    *("permission_denied", "conflict", "payload_too_large", "internal"),
    *("not_connected", "link_lost", "closed"),
]


class SessionGone(CapabilityError, code="test_errors_session_gone"):
    """An application's error whose constructor wants what the wire does not carry."""

    def __init__(self, session_id: str) -> None:
        super().__init__(message=f"there is no session {session_id!r}")


def test_every_code_has_one_class() -> None:
    """No code is missing, doubled or unknown."""
    assert sorted(cls.code for cls in CLASSES) == sorted(CODES)


def test_the_docstring_draws_every_class_with_its_code() -> None:
    """The tree that people read is the tree that there is."""
    drawn = errors.__doc__ or ""
    for cls in CLASSES:
        line = next(line for line in drawn.splitlines() if f"── {cls.__name__} " in line)
        assert f" {cls.code}" in line


def test_every_error_is_exported() -> None:
    """Whatever may be raised may be caught by name."""
    defined = {
        name
        for name, value in vars(errors).items()
        if isinstance(value, type) and issubclass(value, AlephScriptError)
    }
    assert defined | {"error_from_answer", "http_status"} == set(errors.__all__)


@pytest.mark.parametrize(
    ("cls", "builtin"),
    [
        (DeclarationError, TypeError),
        (StateError, RuntimeError),
        (ContractError, ValueError),
        (ConnectionRefused, ConnectionError),
        (errors.DeadlineExceeded, TimeoutError),
        (errors.MasterLost, ConnectionError),
        (errors.PermissionDenied, PermissionError),
        (errors.NotConnected, ConnectionError),
        (errors.LinkLost, ConnectionError),
        (errors.Closed, ConnectionError),
    ],
)
def test_what_python_has_a_class_for_is_of_that_class_too(
    cls: type[AlephScriptError], builtin: type[Exception]
) -> None:
    """`except TimeoutError` catches a missed deadline."""
    assert issubclass(cls, builtin)
    assert issubclass(cls, AlephScriptError)


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.code)
def test_an_error_crosses_the_wire_unchanged(cls: type[RequestError]) -> None:
    """Class, code, message, details and retryable of the answer are those of the error."""
    sent = cls("it went wrong", [{"path": "a"}], retryable=not cls.default_retryable)
    got = error_from_answer(sent.answer())
    assert type(got) is cls
    assert got.answer() == sent.answer()
    assert got.args == sent.args
    assert str(got) == f"it went wrong [{cls.code}]"


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.code)
def test_an_error_without_message_speaks_its_code(cls: type[RequestError]) -> None:
    """Nobody reads an empty sentence, and the answer's `error` is never empty."""
    answer = cls().answer()
    assert answer == {
        "success": False,
        "error": cls.code.replace("_", " "),
        "code": cls.code,
        "retryable": cls.default_retryable,
        "details": [],
    }


@pytest.mark.parametrize(
    "code",
    ["no_master", "deadline_exceeded", "master_lost", "overloaded", "not_connected", "link_lost"],
)
def test_what_passes_by_itself_is_retryable(code: str) -> None:
    """A lack of master, time, room or link may be over the next time."""
    assert error_from_answer({"success": False, "code": code}).retryable


@pytest.mark.parametrize(
    "code", ["invalid_payload", "unknown_event", "conflict", "internal", "closed"]
)
def test_what_stays_is_not_retryable(code: str) -> None:
    """Asking the same again would fail the same again."""
    assert not error_from_answer({"success": False, "code": code}).retryable


def test_a_stock_failure_is_a_capability_error() -> None:
    """Stock masters say `error` and no more."""
    error = error_from_answer({"success": False, "error": "App not found: x"})
    assert type(error) is CapabilityError
    assert (error.code, error.message) == ("error", "App not found: x")
    assert (error.details, error.retryable) == ([], False)


def test_an_unknown_code_is_a_capability_error_of_that_code() -> None:
    """The asker need not know the master's classes."""
    error = error_from_answer({"success": False, "error": "no", "code": "nobody_has_it"})
    assert type(error) is CapabilityError
    assert error.code == "nobody_has_it"


@pytest.mark.parametrize(
    "answer",
    [
        {},
        {"error": None, "code": None, "details": None, "retryable": None},
        {"error": 7, "code": 7, "details": "x", "retryable": "yes"},
        {"error": {"message": "x"}, "code": "", "details": {"a": 1}, "retryable": 1},
        {"error": "", "code": ["no_master"], "details": 0, "retryable": []},
    ],
)
def test_malformed_failures_are_still_errors(answer: dict[str, object]) -> None:
    """Fields of the wrong type count as missing."""
    error = error_from_answer(answer)
    assert error.answer() == {
        "success": False,
        "error": "error",
        "code": "error",
        "retryable": False,
        "details": [],
    }


def test_an_application_error_is_raised_as_its_own_class() -> None:
    """By code, without its constructor: the wire does not carry the arguments of that."""
    sent = SessionGone("s1")
    assert sent.code == SessionGone.code == "test_errors_session_gone"
    got = error_from_answer(sent.answer())
    assert type(got) is SessionGone
    assert got.message == "there is no session 's1'"


def test_a_capability_error_needs_no_class_of_its_own() -> None:
    """Code and message at the spot where it is raised do."""
    error = CapabilityError("invalid_state", "the FIA is stopped", ["STOP"], retryable=True)
    assert error.answer() == {
        "success": False,
        "error": "the FIA is stopped",
        "code": "invalid_state",
        "retryable": True,
        "details": ["STOP"],
    }
    assert CapabilityError().code == "error"
    assert CapabilityError.code == ""


def test_a_subclass_without_code_keeps_the_one_it_inherits() -> None:
    """Only who declares a code owns it."""

    class Special(SessionGone):
        """More of the same."""

    assert Special("s2").code == "test_errors_session_gone"
    assert type(error_from_answer(Special("s2").answer())) is SessionGone


@pytest.mark.parametrize(
    ("code", "owner"), [("test_errors_session_gone", "SessionGone"), ("no_master", "NoMaster")]
)
def test_a_code_belongs_to_one_class(code: str, owner: str) -> None:
    """Two classes of one code would make what is raised a matter of import order."""
    with pytest.raises(DeclarationError, match=f"{code!r} already belongs to {owner}"):
        type("Thief", (CapabilityError,), {}, code=code)


def test_a_module_may_be_reloaded() -> None:
    """The same class, defined again, takes no code from another one."""
    again: Any = type(
        "SessionGone", (CapabilityError,), {"__module__": __name__}, code=SessionGone.code
    )
    assert again.code == SessionGone.code


def test_details_are_the_errors_own() -> None:
    """Changing what was passed in changes nothing."""
    details = [1]
    error = Internal("x", details)
    details.append(2)
    assert error.details == [1]


def test_a_contract_error_lists_every_problem() -> None:
    """With its path; the payload itself has none."""
    problems = [{"path": "", "message": "too big"}, {"path": "a.b", "message": "missing"}]
    error = ContractError("StepFIA", problems)
    assert error.contract == "StepFIA"
    assert error.problems == problems
    assert str(error) == "not a valid StepFIA: payload: too big; a.b: missing"


@pytest.mark.parametrize(
    ("fatal", "advice"), [(False, "is a hub running there"), (True, "check the credentials")]
)
def test_a_refused_connection_says_what_to_do(fatal: bool, advice: str) -> None:
    """A hub that is not there wants another remedy than one that says no."""
    error = ConnectionRefused("http://127.0.0.1:3010", "unauthorized", fatal=fatal)
    assert (error.url, error.reason, error.fatal) == (
        "http://127.0.0.1:3010",
        "unauthorized",
        fatal,
    )
    assert "cannot connect to http://127.0.0.1:3010: unauthorized" in str(error)
    assert advice in str(error)


def test_one_except_clause_catches_every_failed_request() -> None:
    """RequestError is the root of the remote ones, AlephScriptError of all."""
    with pytest.raises(RequestError) as caught:
        raise NoMaster("AAIA_ROOM has no master")
    assert isinstance(caught.value, AlephScriptError)
    assert not isinstance(ContractError("X", []), RequestError)


class Sold(CapabilityError, code="test_errors_sold"):
    """An application's error with two arguments, both required, none kept."""

    def __init__(self, what: str, *, to: str) -> None:
        super().__init__(message=f"{what} went to {to}", details=[what])
        self.to = to


class Forgetful(CapabilityError, code="test_errors_forgetful"):
    """An application's error that does not call its base."""

    def __init__(self, id: int) -> None:
        self.id = id


EVERY_KIND: list[AlephScriptError] = [
    *(cls("a sentence", [{"id": 1}], retryable=True) for cls in CLASSES),
    *(cls() for cls in CLASSES),
    AlephScriptError("oh"),
    DeclarationError("oh"),
    StateError("oh"),
    ContractError("Order", [{"path": "what", "message": "is no text"}]),
    ConnectionRefused("http://127.0.0.1", "no", fatal=True),
    CapabilityError("code", "a sentence", ["x"]),
    SessionGone("s1"),
    Sold("tea", to="me"),
    Forgetful(5),
    error_from_answer({"success": False, "code": "test_errors_sold", "error": "gone"}),
]


@pytest.mark.parametrize(
    "again",
    [
        *(lambda e, p=p: pickle.loads(pickle.dumps(e, p)) for p in range(6)),
        copy.copy,
        copy.deepcopy,
    ],
)
@pytest.mark.parametrize("error", EVERY_KIND, ids=lambda each: type(each).__name__)
def test_every_error_survives_being_copied(
    error: AlephScriptError, again: Callable[[AlephScriptError], AlephScriptError]
) -> None:
    """Process pools and task queues pickle what is raised, and hang on what cannot be."""
    error.add_note("said by a test")
    twin = again(error)
    assert type(twin) is type(error)
    assert (str(twin), twin.args, vars(twin)) == (str(error), error.args, vars(error))


@pytest.mark.parametrize("details", ["abc", b"abc", {"id": 5}, 5, True])
def test_what_is_no_list_is_one_detail(details: Any) -> None:
    """Else a text would be many details, and an object its keys."""
    assert CapabilityError("c", "m", details).details == [details]


def test_no_details_are_none() -> None:
    """However that is said, and other sequences are lists of details."""
    nothing: list[Any] = [None, (), [], set()]
    for details in nothing:
        assert CapabilityError("c", "m", details).details == []
    assert CapabilityError("c", "m", (each for each in "ab")).details == ["a", "b"]  # type: ignore[arg-type]


def test_an_error_that_forgot_its_base_can_be_answered() -> None:
    """With its own code."""
    assert Forgetful(5).answer() == {
        "success": False,
        "error": "test errors forgetful",
        "code": "test_errors_forgetful",
        "retryable": False,
        "details": [],
    }


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (errors.InvalidPayload(), 400),
        ("unauthorized", 401),
        (errors.PermissionDenied(), 403),
        (errors.NoMaster(), 404),
        (errors.UnknownCapability(), 404),
        (errors.Conflict(), 409),
        (errors.PayloadTooLarge(), 413),
        (CapabilityError("session_not_found"), 422),
        ("session_not_found", 422),
        (errors.Overloaded(), 429),
        (errors.Internal(), 500),
        (errors.ContractError("Reply", []), 500),
        (errors.MasterLost(), 502),
        (errors.NotConnected(), 503),
        (errors.ConnectionRefused("http://x", "away"), 503),
        (errors.DeadlineExceeded(), 504),
    ],
)
def test_each_error_has_the_status_that_fits(error: AlephScriptError | str, status: int) -> None:
    """As an HTTP server answers, which then needs no table of its own."""
    assert errors.http_status(error) == status


def test_each_code_of_the_package_has_a_status() -> None:
    """422 is for what applications say."""
    own = [cls for cls in CLASSES if cls is not CapabilityError and cls.code]
    assert all(errors.http_status(cls.code) != 422 for cls in own)
    assert all(errors.http_status(cls()) == errors.http_status(cls.code) for cls in own)
