"""Who is let in, and what each may do: the ready-made rules, and a mesh that keeps them."""

from __future__ import annotations

import hmac
import time
from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import attrs
import jwt
import pytest

from alephscript.hub import (
    Access,
    Action,
    Handshake,
    Identity,
    JsonWebToken,
    Limits,
    Refusal,
    RoomSecrets,
    SharedToken,
)
from alephscript.mesh.effects import Acknowledge, Deliver, Denied, Effect, Emit
from alephscript.mesh.mesh import Mesh
from alephscript.protocol import events
from alephscript.protocol.json import read_value

HOW = Handshake("/runtime", "127.0.0.1", {})
KEY = "a key of at least thirty-two bytes, as HS256 wants it"
ACK = 7


@pytest.mark.parametrize(
    "auth", [None, {}, [], "s", {"token": "S"}, {"token": ""}, {"token": None}, {"token": "\ud800"}]
)
def test_without_the_token_nobody_is_let_in(auth: Any) -> None:
    """Of whatever type what was sent is."""
    assert SharedToken("s").authenticate(auth, HOW) == Refusal("unauthorized")


def test_who_has_the_token_may_do_everything() -> None:
    """And is called what it says, until it registers."""
    identity = SharedToken("s").authenticate({"token": "s", "user": "Ana"}, HOW)
    assert identity == Identity(suggested="Ana", is_admin=True)
    assert all(may(SharedToken("s"), identity, action, "R") for action in ACTIONS)


@pytest.mark.parametrize("secrets", [{}, {"A": ""}, {"A": "a", "B": ""}])
def test_a_secret_that_keeps_nobody_out_is_refused(secrets: dict[str, str]) -> None:
    """Where it is configured, not when somebody comes in."""
    with pytest.raises(ValueError, match="secret"):
        RoomSecrets(secrets)
    with pytest.raises(ValueError, match="empty"):
        SharedToken("")


@pytest.mark.parametrize(
    ("auth", "reason"),
    [
        (None, "room required"),
        ({"token": "a"}, "room required"),
        ({"token": "a", "room": ""}, "room required"),
        ({"token": "a", "room": 7}, "room required"),
        ({"token": "a", "room": "C"}, "unauthorized"),  # as for a room that is there
        ({"token": "b", "room": "A"}, "unauthorized"),
        ({"room": "A"}, "unauthorized"),
    ],
)
def test_a_room_has_a_secret_of_its_own(auth: Any, reason: str) -> None:
    """Refused in the words of upstream's hubs, which do not say here whether there is the room."""
    assert RoomSecrets({"A": "a", "B": "b"}).authenticate(auth, HOW) == Refusal(reason)


class Uncompared(str):
    """A secret that is never compared as texts are, whose time tells how much of one is right."""

    __slots__ = ()
    __hash__ = str.__hash__

    def __eq__(self, other: object) -> bool:
        raise AssertionError

    __ne__ = __eq__


@pytest.mark.parametrize("room", ["SALA", "OTHER"])
@pytest.mark.parametrize("token", ["", "s", "secre", "secret", "secrets", "\ud800"])
def test_the_time_of_a_guess_says_nothing(
    token: str, room: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each is compared once, whole, in constant time, for a room that there is not, too."""
    compared: list[tuple[bytes, bytes]] = []

    def compare(one: bytes, other: bytes) -> bool:
        compared.append((one, other))
        return hmac.compare_digest(one, other)

    monkeypatch.setattr("alephscript.mesh.access.hmac", SimpleNamespace(compare_digest=compare))
    rules = (SharedToken(Uncompared("secret")), RoomSecrets({"SALA": Uncompared("secret")}))
    auth = {"token": Uncompared(token), "room": room}
    for rule in rules:
        answer = rule.authenticate(auth, HOW)
        is_in = token == "secret" and (room == "SALA" or isinstance(rule, SharedToken))
        assert isinstance(answer, Identity) == is_in
    assert [other for _, other in compared] == [token.encode("utf-8", "surrogatepass")] * 2


def test_a_rooms_secret_is_good_for_that_room_only() -> None:
    """Not for hearing of the others, either."""
    access = RoomSecrets({"A": "a", "B": "b"})
    identity = access.authenticate({"token": "a", "room": "A", "user": "Ana"}, HOW)
    assert identity == Identity(suggested="Ana", rooms=frozenset({"A"}))
    assert all(may(access, identity, action, "A") for action in ACTIONS)
    assert not any(may(access, identity, action, room) for action in ACTIONS for room in ("B", "*"))


@pytest.mark.parametrize(
    ("room", "is_covered"),
    [
        ("SALA", True),
        ("SALA::z:norte", True),
        ("SALA::z:norte::z:alta", True),
        ("SALA::z:", False),
        ("SALA::z", False),
        ("SALA:z:norte", False),
        ("SALA::norte", False),
        ("SALA2::z:norte", False),
        ("SAL::z:norte", False),
        ("::z:SALA", False),
        ("OTHER::z:SALA", False),
        ("OTHER::z:SALA::z:norte", False),
        ("sala::z:norte", False),
        ("*", False),
    ],
)
def test_a_grant_for_a_room_covers_its_zones(room: str, *, is_covered: bool) -> None:
    """And no room whose name only resembles theirs; whichever rule grants."""
    access = RoomSecrets({"SALA": "s"})
    identity = access.authenticate({"token": "s", "room": "SALA"}, HOW)
    assert [may(access, identity, action, room) for action in ACTIONS] == [is_covered] * 4
    of_a_token = JsonWebToken(KEY).authenticate(token(rooms=["SALA"]), HOW)
    assert may(JsonWebToken(KEY), of_a_token, "master", room) == is_covered
    masters = Identity(rooms=None, masters=frozenset({"SALA"}))
    assert may(access, masters, "master", room) == is_covered
    assert may(access, masters, "speak", room)
    zone = Identity(rooms=frozenset({"SALA::z:norte"}))
    assert may(access, zone, "speak", room) == (room == "SALA::z:norte")


def token(key: str = KEY, **claims: Any) -> dict[str, str]:
    """A handshake's auth with a token in it."""
    whole = {"sub": "ana", "exp": time.time() + 60, **claims}
    return {"token": jwt.encode({k: v for k, v in whole.items() if v is not None}, key)}


def test_a_token_says_who_it_is_and_what_it_may_do() -> None:
    """Its usuario is proven, and it ends."""
    at = int(time.time()) + 60
    auth = token(exp=at, rooms=["A", "B"], masters=["B"], admin=True)
    access = JsonWebToken(KEY)
    identity = access.authenticate(auth, HOW)
    assert identity == Identity(
        usuario="ana",
        rooms=frozenset("AB"),
        masters=frozenset("B"),
        is_admin=True,
        expires_at=float(at),
    )
    allowed = {(a, r) for a in ACTIONS for r in "ABC" if may(access, identity, a, r)}
    assert allowed == {(a, r) for a in ACTIONS for r in "AB"} - {("master", "A")}


@pytest.mark.parametrize(
    "auth",
    [
        None,
        {},
        {"token": 7},
        {"token": "x.y.z"},
        token("another key of at least thirty-two bytes, in vain"),
        token(exp=1),
        token(exp=None),
        token(sub=None),
        token(sub=7),
        token(sub=""),
        token(sub="a" * 257),
        token(rooms="A"),
        token(rooms=[1]),
        token(masters={"A": 1}),
        token(aud="others"),
        {"token": jwt.encode({"sub": "ana", "exp": 9e9}, None, algorithm="none")},  # type: ignore[arg-type]
    ],
)
def test_a_token_that_is_not_right_lets_nobody_in(auth: Any) -> None:
    """Signed by others, expired, without an end, of claims that make no sense."""
    assert JsonWebToken(KEY).authenticate(auth, HOW) == Refusal()


def test_audience_and_issuer_are_checked_where_they_matter() -> None:
    """A token for another service is none for this one."""
    access = JsonWebToken(KEY, audience="mesh", issuer="us")
    assert isinstance(access.authenticate(token(aud="mesh", iss="us"), HOW), Identity)
    assert access.authenticate(token(aud="mesh", iss="them"), HOW) == Refusal()
    assert access.authenticate(token(aud="else", iss="us"), HOW) == Refusal()
    assert access.authenticate(token(), HOW) == Refusal()


ACTIONS: tuple[Action, ...] = ("subscribe", "speak", "ask", "master")


def may(access: Access, identity: Identity | Refusal | Any, action: Action, room: str) -> bool:
    """Whether somebody who was let in may do something."""
    assert isinstance(identity, Identity)
    return access.authorize(identity, action, room, "")


# A mesh that keeps to it


A, B, ALL = Identity(rooms=frozenset("A")), Identity(rooms=frozenset("B")), Identity()


@pytest.fixture
def mesh() -> Mesh:
    """Two rooms with a master each, and somebody who knows one, the other, and both."""
    mesh = Mesh(authorize=SharedToken("any").authorize)
    for sid, identity in {"a": A, "b": B, "all": ALL}.items():
        mesh.connected(sid, identity=identity)
        said = {"usuario": f"u-{sid}", "protocol": events.PROTOCOL}
        mesh.received(sid, "CLIENT_REGISTER", [said])
    for sid, room in (("a", "A"), ("b", "B"), ("all", "A"), ("all", "B")):
        mesh.received(sid, "CLIENT_SUSCRIBE", [{"room": room}])
    for room in "AB":
        mesh.received("all", "MAKE_MASTER", [{"room": room, "features": [f"IN_{room}", "BOTH"]}])
    return mesh


def answered(effects: Sequence[Effect]) -> Mapping[str, Any]:
    """The one acknowledgement there is."""
    (found,) = [each for each in effects if isinstance(each, Acknowledge)]
    return read_value(found.answer)  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("event", "payload", "action"),
    [
        ("CLIENT_SUSCRIBE", {"room": "B"}, "subscribe"),
        ("CLIENT_SUSCRIBE", {"room": "*"}, "subscribe"),
        ("ROOM_MESSAGE", {"room": "B", "event": "NEWS", "data": 1}, "room_message"),
        ("ROOM_MESSAGE", {"room": "B", "event": "SET_X", "data": 1}, "room_message"),
        ("ROOM_MESSAGE", {"room": "B", "event": "GET_IN_B", "data": 1}, "room_message"),
        ("ROOM_MESSAGE", {"room": "B", "event": "MAKE_MASTER", "data": {}}, "room_message"),
        ("MAKE_MASTER", {"room": "B"}, "room_message"),
        ("GET_MEMBERS", {"room": "B"}, "room_message"),
    ],
)
def test_what_is_not_allowed_is_refused_and_said_as_upstream_says_it(
    mesh: Mesh, event: str, payload: dict[str, Any], action: str
) -> None:
    """An answer with a code, an auth_error besides, and nobody else hears of it."""
    effects = mesh.received("a", event, [payload], ACK)
    denied, refused = effects
    room = payload["room"]
    assert denied == Denied("a", f"room not allowed: {room}", room, action)
    assert isinstance(refused, Acknowledge)
    assert answered(effects)["code"] == "permission_denied"
    assert "a" not in mesh.rooms.members(room)


@pytest.mark.parametrize("event", ["NEWS", "SET_X"])
def test_an_event_said_by_its_own_name_is_refused_as_one_in_an_envelope(
    mesh: Mesh, event: str
) -> None:
    """The room's rules do not ask in which form something came."""
    mesh.received("a", "CLIENT_REGISTER", [{"usuario": "a", "protocol": events.PROTOCOL}])
    effects = mesh.received("a", event, [1, {"room": "B"}], ACK)
    assert effects[0] == Denied("a", "room not allowed: B", "B", "room_message")
    envelope = {"room": "B", "event": event, "data": 1}
    assert effects == mesh.received("a", "ROOM_MESSAGE", [envelope], ACK)


@pytest.mark.parametrize("event", ["CLIENT_SUSCRIBE", "ROOM_MESSAGE"])
def test_a_message_without_a_room_is_told_that_one_is_required(mesh: Mesh, event: str) -> None:
    """As upstream's hubs with secrets do; a hub without says only what is invalid."""
    effects = mesh.received("a", event, [{"event": "X"}])
    assert [each.reason for each in effects if isinstance(each, Denied)] == ["room required"]
    plain = Mesh()
    plain.connected("a")
    assert plain.received("a", event, [{"event": "X"}]) == []


def test_a_question_for_a_room_that_is_not_allowed_says_nothing_of_it(mesh: Mesh) -> None:
    """Whether there is such a room, or what it offers."""
    for room in ("B", "NO_SUCH"):
        effects = mesh.received("a", "GET_IN_B", [{}, {"room": room}], ACK)
        assert answered(effects)["code"] == "permission_denied"
    assert answered(mesh.received("a", "GET_IN_B", [{}], ACK))["code"] == "no_master"
    (asked,) = mesh.received("a", "GET_BOTH", [{}], ACK)
    assert isinstance(asked, Deliver)
    assert asked.args[1]["room"] == "A"


def test_who_knows_one_room_sees_nothing_of_the_others(mesh: Mesh) -> None:
    """Rooms, members, capabilities, and nobody who is only there."""
    mesh.received("all", "CLIENT_SUSCRIBE", [{"room": "A", "out": True}])
    state = answered(mesh.received("a", "GET_SERVER_STATE", [], ACK))
    assert [room["roomId"] for room in state["rooms"]] == ["A"]
    assert [each["usuario"] for each in state["miembros"]] == ["u-a", "u-all"]
    assert state["clients"] == 2
    offers = answered(mesh.received("a", "GET_CAPABILITIES", [], ACK))["offers"]
    assert {offer["room"] for offer in offers} == {"A"}
    members = answered(mesh.received("a", "GET_MEMBERS", [], ACK))["members"]
    assert [each["id"] for each in members] == ["a", "all"]
    assert "u-b" not in str(state)
    ping = mesh.received("a", "GET_MEMBER_PING", [{}, {"member": "b"}], ACK)
    assert answered(ping)["code"] == "no_master"
    assert isinstance(mesh.received("a", "GET_MEMBER_PING", [{}, {"member": "all"}], 8)[0], Deliver)


def test_a_caller_cannot_be_forged_where_it_is_proven() -> None:
    """Whatever it registers as, and however usuario and sesion are put together."""
    mesh = Mesh(authorize=SharedToken("any").authorize)
    mesh.connected("m", identity=Identity(usuario="bot"))
    mesh.connected("x", identity=Identity(usuario="x"))
    for sid in "mx":
        said = {"usuario": "admin", "sesion": "!", "protocol": events.PROTOCOL}
        mesh.received(sid, "CLIENT_REGISTER", [said])
    mesh.received("m", "MAKE_MASTER", [{"room": "R", "features": ["X"]}])
    (asked,) = mesh.received("x", "GET_X", [{}, {"caller": "admin"}], ACK)
    assert isinstance(asked, Deliver)
    assert asked.args[1]["caller"] == "x"
    state = mesh.reports.state_for(mesh.rooms.peers["x"])
    assert {each["usuario"] for each in state["miembros"]} == {"bot", "x"}


@pytest.mark.parametrize("sesion", ["in", "!", 7, ""])
def test_a_proven_name_is_not_glued_to_what_its_bearer_adds(sesion: Any) -> None:
    """Wherever others read it: as sender, as asker, as master, in every list."""
    mesh = Mesh(authorize=SharedToken("any").authorize)
    mesh.connected("o", identity=Identity(usuario="observer"))
    mesh.connected("x", identity=Identity(usuario="adm"))
    assert mesh.rooms.peers["x"].name == "adm"
    for sid in "ox":
        said = {"usuario": "?", "sesion": sesion, "name": "admin", "protocol": events.PROTOCOL}
        mesh.received(sid, "CLIENT_REGISTER", [said])
        mesh.received(sid, "CLIENT_SUSCRIBE", [{"room": "R"}])
    said_there = [
        *mesh.received("x", "MAKE_MASTER", [{"room": "R", "features": ["X"]}], ACK),
        *mesh.received("x", "ROOM_MESSAGE", [{"room": "R", "event": "ORDER"}], ACK),
        *mesh.received("o", "GET_SERVER_STATE", [], ACK),
        *mesh.received("o", "GET_CAPABILITIES", [], ACK),
        *mesh.received("o", "GET_MEMBERS", [], ACK),
    ]
    [heard] = [each for each in said_there if isinstance(each, Emit) and each.event == "ORDER"]
    assert heard.args[1]["sender"] == "adm"
    assert "admin" not in str(said_there)
    state = mesh.reports.state_for(mesh.rooms.peers["o"])
    assert [each["name"] for each in state["rooms"][0]["miembros"]] == ["observer", "adm"]
    assert state["rooms"][0]["master"] == "adm"
    ids = [each["id"] for each in state["socketsPerNamespace"][0]["sockets"]]
    assert ids == ["/observer", "/adm"]


def test_who_registers_no_usuario_is_called_what_it_connected_as() -> None:
    """As upstream's hubs take it from the handshake; who registers one is called that."""
    mesh = Mesh(authorize=SharedToken("any").authorize)
    for sid, said in (("x", {}), ("y", {"usuario": "y"})):
        mesh.connected(sid, identity=Identity(suggested="Ana"))
        mesh.received(sid, "CLIENT_REGISTER", [said])
    assert [
        each["usuario"] for each in mesh.reports.state_for(mesh.rooms.peers["x"])["miembros"]
    ] == ["Ana", "y"]


def test_a_rule_of_ones_own_sees_action_room_and_name() -> None:
    """For whatever `Identity.rooms` does not say."""
    asked: list[tuple[str, str, str]] = []

    class Mine(Access):
        def authenticate(self, auth: Any, handshake: Handshake) -> Identity:
            return Identity()

        def authorize(self, identity: Identity, action: Action, room: str, name: str) -> bool:
            asked.append((action, room, name))
            return name != "FORBIDDEN"

    mesh = Mesh(authorize=Mine().authorize)
    mesh.connected("x", identity=Identity())
    mesh.received("x", "CLIENT_SUSCRIBE", [{"room": "R"}])
    mesh.received("x", "MAKE_MASTER", [{"room": "R", "features": ["X", "FORBIDDEN"]}])
    mesh.received("x", "ROOM_MESSAGE", [{"room": "R", "event": "NEWS"}])
    assert answered(mesh.received("x", "GET_FORBIDDEN", [{}], ACK))["code"] == "no_master"
    assert isinstance(mesh.received("x", "GET_X", [{}], 8)[0], Deliver)
    assert asked == [
        ("subscribe", "R", ""),
        ("master", "R", ""),
        ("speak", "R", "NEWS"),
        ("ask", "R", "FORBIDDEN"),
        ("ask", "R", "X"),
    ]


# Limits


def crowd(limits: Limits, *sids: str) -> Mesh:
    """A mesh with such limits, and peers."""
    mesh = Mesh(limits=limits)
    for sid in sids:
        mesh.connected(sid)
    return mesh


def test_a_client_may_be_in_so_many_rooms_and_no_more() -> None:
    """Who leaves one may enter another; who is there already may say so again."""
    mesh = crowd(Limits(rooms_per_client=2), "x")
    for room in ("A", "B", "B"):
        assert answered(mesh.received("x", "CLIENT_SUSCRIBE", [{"room": room}], ACK))["success"]
    refused = answered(mesh.received("x", "CLIENT_SUSCRIBE", [{"room": "C"}], ACK))
    assert refused["code"] == "limit_exceeded"
    assert mesh.rooms.get("C") is None
    mesh.received("x", "CLIENT_SUSCRIBE", [{"room": "A", "out": True}])
    assert answered(mesh.received("x", "CLIENT_SUSCRIBE", [{"room": "C"}], ACK))["success"]


def test_a_client_may_master_so_many_rooms_and_no_more() -> None:
    """Who resigns from one may master another; who declares again takes no second place."""
    mesh = crowd(Limits(rooms_per_client=2), "x")
    for room in ("A", "B", "B"):
        assert answered(mesh.received("x", "MAKE_MASTER", [{"room": room}], ACK))["success"]
    refused = answered(mesh.received("x", "MAKE_MASTER", [{"room": "C"}], ACK))
    assert refused["code"] == "limit_exceeded"
    assert mesh.rooms.get("C") is None
    mesh.received("x", "MAKE_MASTER", [{"room": "A", "out": True}])
    assert answered(mesh.received("x", "MAKE_MASTER", [{"room": "C"}], ACK))["success"]


def test_a_room_takes_so_many_members_and_no_more() -> None:
    """Until one leaves."""
    mesh = crowd(Limits(members_per_room=2), "x", "y", "z")
    for sid in "xyx":
        assert answered(mesh.received(sid, "CLIENT_SUSCRIBE", [{"room": "R"}], ACK))["success"]
    refused = answered(mesh.received("z", "CLIENT_SUSCRIBE", [{"room": "R"}], ACK))
    assert refused["code"] == "limit_exceeded"
    assert "R is full" in refused["error"]
    mesh.disconnected("x")
    assert answered(mesh.received("z", "CLIENT_SUSCRIBE", [{"room": "R"}], ACK))["success"]


@pytest.mark.parametrize("with_ack", [True, False])
def test_a_client_may_have_so_many_requests_in_flight_and_no_more(*, with_ack: bool) -> None:
    """One more is overloaded at once; one that has ended makes room for the next."""
    mesh = crowd(Limits(requests_per_client=2), "m", "x", "y")
    mesh.received("m", "MAKE_MASTER", [{"room": "R", "features": ["X"]}])
    acks = iter(range(1, 9)) if with_ack else iter([None] * 8)
    open_ = [mesh.received("x", "GET_X", [{}], next(acks))[0] for _ in range(2)]
    assert all(isinstance(each, Deliver) for each in open_)
    refused = mesh.received("x", "GET_X", [{}], next(acks))
    if with_ack:
        assert answered(refused)["code"] == "overloaded"
        assert answered(refused)["retryable"] is True
    else:
        told = [each for each in refused if isinstance(each, Emit)]
        assert [each.args[0]["code"] for each in told] == ["overloaded"]
    assert isinstance(mesh.received("y", "GET_X", [{}], ACK)[0], Deliver)
    assert isinstance(open_[0], Deliver)
    mesh.acknowledged("m", open_[0].request, [{}])
    assert isinstance(mesh.received("x", "GET_X", [{}], next(acks))[0], Deliver)


def test_the_defaults_are_limits() -> None:
    """None of them is missing."""
    assert all(value > 0 for value in attrs.astuple(Limits()))
