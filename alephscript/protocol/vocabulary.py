"""Vocabulary: the events that a hub gives a meaning to, and the keys of the meta, each described.

May go in: names of the wire with a sentence each, of which the reference makes its tables. May not:
what a payload has to look like (`events`).
"""

from __future__ import annotations

from enum import StrEnum

__all__ = ["HubEvent", "MetaKey"]


class HubEvent(StrEnum):
    """Events that the hub itself understands or sends; members may be spelt right, values not.

    Each says who sends the event to whom, with which payload, and what comes of it. The reference's
    tables are made of that.
    """

    CLIENT_REGISTER = "CLIENT_REGISTER"
    """client → hub: ``{usuario, sesion?, protocol?, …}`` The client says who it is; the answer
    has ``protocol`` and ``socketId``."""

    CLIENT_SUBSCRIBE = "CLIENT_SUSCRIBE"
    """client → hub: ``{room, out?, since?, presence?}`` The client enters the room, or leaves it
    with ``out``. The last values that are retained there come before the answer, each as its
    event; with ``presence: true`` the client hears who comes and goes. With ``since`` (``"10m"``,
    an ISO time, or a ``position``) the client first hears what was said since then, as far as the
    hub has it. The answer has ``room``, and where the room has a log or a history ``position``,
    ``history`` and ``number``, and with ``since`` ``missed``, a count of what the hub no longer
    has: null if that is not known."""

    CLIENT_UNSUBSCRIBE = "CLIENT_UNSUSCRIBE"
    """client → hub: ``{room}`` The client leaves the room; the answer has ``room``."""

    MAKE_MASTER = "MAKE_MASTER"
    """client → hub: ``{room, features[], group?, out?, yields?, descriptions?, says?}`` The client
    becomes a master of the room, or resigns with ``out``; with ``yields`` the client stands by if
    others master the room. The answer has ``room``, ``features`` and ``epoch``, and ``displaced``
    if the client stands by."""

    RELEASE_MASTER = "RELEASE_MASTER"
    """client → hub: ``{room}`` The client is a master of the room no more, as with ``out``; the
    answer has ``room``. Inside ROOM_MESSAGE, as core masters send it, the room hears it, too."""

    ROOM_MESSAGE = "ROOM_MESSAGE"
    """client → hub: ``{event, room, data, retain?}`` The room gets the inner event; with
    ``retain: true`` the hub keeps its data for those who subscribe later, or forgets it where
    ``data`` is null. The answer has ``room`` and ``members``, a count, and where the room has a
    log or a history the event's ``position``, as ``history`` and ``number``, too; or the answer is
    the inner event's own.
    A request to a core master comes in it, too. Native clients say most events without this
    envelope."""

    GET_SERVER_STATE = "GET_SERVER_STATE"
    """client → hub: ``any`` The client asks who is where; the answer is the state, and the
    client gets it as SET_SERVER_STATE, too. The state of a large mesh has room for names only, and
    ``omitted`` counts the rooms and members that it leaves out."""

    GET_CAPABILITIES = "GET_CAPABILITIES"
    """client → hub: ``{room?, capability?}`` The client asks what is offered; the answer has
    ``offers``, a list of ``{room, capability, masters[], group, epoch}`` with what the
    description says besides. If that is too much, the descriptions are left out, then offers,
    which ``omitted`` counts; a question with ``room`` or ``capability`` is answered in full."""

    GET_ROOM_LOG = "GET_ROOM_LOG"
    """client → hub: ``{room, since?, before?, most?}`` The client reads what was said in a room: a
    page of ``events`` with ``event``, ``data``, ``sender``, ``at``, ``number`` and ``position``,
    or with ``lost``, a count, where the log could not take any. The page begins at ``since``, or
    ends before the number ``before``. The answer says with ``position`` where the page ends, with
    ``isEnd`` whether the log ends there, with ``first`` and ``last`` which numbers there are, and
    with ``missed`` as CLIENT_SUSCRIBE what the hub no longer has."""

    GET_MEMBERS = "GET_MEMBERS"
    """client → hub: ``{room?, presence?}`` The client asks which native members there are; the
    answer has ``members``, a list of ``{id, name}``; ``omitted`` counts those that it leaves out.
    With ``presence: true`` it has all members of the room, of any dialect:
    ``{usuario, sesion}``."""

    GET_MEMBER_PING = "GET_MEMBER_PING"
    """client → hub → member: ``{}`` A native member, named by ``member`` in the meta, is asked
    for a sign of life; the answer has no fields."""

    GET_MEMBER_INFO = "GET_MEMBER_INFO"
    """client → hub → member: ``{}`` The member says what it is: ``usuario``, ``sesion``,
    ``version``, ``capabilities[]``, ``summary``, ``uptimeMs``."""

    GET_MEMBER_STATS = "GET_MEMBER_STATS"
    """client → hub → member: ``{}`` The member says how it does: ``usuario``, ``sesion`` and,
    by name, ``capabilities``: ``requests``, ``errors``, ``inFlight``, ``waiting``, ``p50Ms``,
    ``p95Ms``, ``lastError``."""

    GET_ASKER_ANSWER = "GET_ASKER_ANSWER"
    """master → hub → asker: ``{capability, payload, summary?, request?, reply?}`` A native master
    asks back: the asker of a request that it serves, named by ``id`` in its meta, is asked
    something, and finds its own number of that request as ``request``. ``reply`` is the JSON Schema
    of the answer, ``request`` that of ``payload``."""

    SET_SERVER_STATE = "SET_SERVER_STATE"
    """hub → client: ``{clients, miembros[], rooms[], …}`` The state that the client asked
    for."""

    SUBSCRIBE_OK = "SUSCRIBE_OK"
    """hub → client: ``{room}`` The client is in the room."""

    ROOM_JOINED = "room_joined"
    """hub → client: ``{room}`` The same, for peers that wait for this name."""

    ROOM_LEFT = "room_left"
    """hub → client: ``{room}`` The client is in the room no more."""

    AUTH_ERROR = "auth_error"
    """hub → client: ``{reason, room, action, timestamp}`` The hub's ``Access`` has refused
    something that the client did in a room; the answer, if it wants one, is
    ``permission_denied``."""

    MASTER_CHANGED = "MASTER_CHANGED"
    """hub → room: ``{room, usuario, epoch, displaced?}`` Another member serves the room, or none
    (``usuario: null``). Members of the room ``*`` hear it, too. So does a master that is
    ``displaced`` and stands by from now on, or that masters the room again
    (``displaced: false``)."""

    MEMBER_JOINED = "MEMBER_JOINED"
    """hub → those who asked: ``{room, usuario, sesion}`` A member is in the room that was not."""

    MEMBER_LEFT = "MEMBER_LEFT"
    """hub → those who asked: ``{room, usuario, sesion, reason}`` The member is in the room no
    more: ``unsubscribed``, ``disconnected`` (it said goodbye), ``link_lost``, ``hub_lost``, or
    ``renamed``."""

    CANCEL_REQUEST = "CANCEL_REQUEST"
    """asker → hub → master: ``{request}`` → ``{id, reason}`` Nobody waits for the request any
    more: ``cancelled``, ``asker_lost``, ``deadline``, ``displaced``, or ``overrun``: the master
    has sent more parts than it was granted."""

    REQUEST_PART = "REQUEST_PART"
    """master → hub → asker: ``any`` One part of a streamed answer; in the meta ``{id}`` →
    ``{request}``."""

    REQUEST_MORE = "REQUEST_MORE"
    """asker → hub → master: ``{request, parts}`` → ``{id, parts}`` So many more parts are
    granted."""

    REQUEST_PROGRESS = "REQUEST_PROGRESS"
    """master → hub → asker: ``{fraction, message}`` How far a request is; in the meta ``{id}``
    → ``{request}``."""

    TASK_SUBMIT = "TASK_SUBMIT"
    """client → hub: ``{capability, payload, room?, timeoutMs?, key?}`` The client hands a request
    over to the hub, to be run whoever goes and comes; the answer has the ``task``, as all answers
    about one: ``{id, capability, room, state, progress, question, attempts, created, updated,
    result?, error?}``. The same ``key`` of the same client gives the same task."""

    TASK_GET = "TASK_GET"
    """client → hub: ``{id, waitMs?, watch?, own?}`` The client asks how a task is; with ``waitMs``
    the answer comes when the task has ended, or after that time. With ``watch`` the client hears
    TASK_CHANGED from now on. With ``own`` the task has to be its own, and is told at once, with
    its ``key``."""

    TASK_CANCEL = "TASK_CANCEL"
    """client → hub: ``{id}`` Nobody wants the task any more; the answer has the ``task``."""

    TASK_LIST = "TASK_LIST"
    """client → hub: ``{room?, state?, own?}`` The client asks which tasks there are; the answer has
    ``tasks``, the newest first, 1,000 at the most, without the results that would make it too
    large. With ``own`` only the client's own are told, each with its ``key``."""

    TASK_ANSWER = "TASK_ANSWER"
    """client → hub → master: ``{id, payload, key?, about?}`` The answer to the question of a
    task; the answer has the ``task``. Without a question it is ``conflict``. A payload
    ``{success: false, error, code, details}`` refuses to answer. The same ``key`` is the same
    answer, sent again; ``about`` names the question, for it to be ``conflict`` when the task asks
    something else by now."""

    TASK_CHANGED = "TASK_CHANGED"
    """hub → client, hub → room: ``{task}`` A task has changed. Its submitter hears that, and
    whoever watches it; the members of its room hear it without payload and result."""

    TASK_RESUME = "TASK_RESUME"
    """master → hub: ``{runs[]}`` The master still has these runs of tasks, begun on another
    connection; the answer has ``runs``, ``{run: id}``, the request of each that counts. What does
    not count any more is left out. A hub sends ``{}`` to a master that should say this now, since
    another hub that knew its runs is gone."""

    TASK_KEPT = "TASK_KEPT"
    """hub → master: ``{run, number?}`` The hub has kept the result of the run, which the master may
    forget; with ``number``, that checkpoint of the run."""

    REQUEST_CHECKPOINT = "REQUEST_CHECKPOINT"
    """master → hub: ``{number, checkpoint}`` What the next run of a task should begin with; in the
    meta ``{id}``. The hub says TASK_KEPT when the checkpoint cannot be lost any more."""

    RECORD_ROOMS = "RECORD_ROOMS"
    """client → hub: ``{rooms[]}`` The client is told from now on what is asked, answered and said
    in these rooms, and in no others; ``*`` stands for all, none ends it. The answer has ``rooms``.
    On a hub with an ``Access``, an admin alone may."""

    ROOM_RECORD = "ROOM_RECORD"
    """hub → client: ``{kind, room, at, …}`` Something that happens in a room that the client
    records, without what its contract marks as secrets: ``master``, ``request``, ``part``,
    ``question``, ``answer``, ``end``, ``refused`` or ``event``."""


class MetaKey(StrEnum):
    """Keys of the meta, the second argument of an event between native peers.

    Each says where it is found: in a ``question`` to the hub, in a ``request`` to a master, in a
    request that is the ``run`` of a task, with an ``event`` of a room, with a ``broadcast`` to the
    hub. The reference's table is made of that.
    """

    ROOM = "room"
    """question, request, event: The room; a question without one leaves its choice to the
    hub. A client that sends any other event with it says that event in the room."""

    MEMBER = "member"
    """question: Socket id of the member that GET_MEMBER_PING, GET_MEMBER_INFO or
    GET_MEMBER_STATS is for, as GET_MEMBERS gives it."""

    TIMEOUT = "timeoutMs"
    """question, request: Milliseconds that are left, never a time of day; a question without it
    gets the hub's default."""

    IDLE = "idleMs"
    """question: Milliseconds that may pass without a part or progress before the request ends as
    ``deadline_exceeded``; none pass while the asker is asked something."""

    ANSWERS = "answers"
    """question, request: ``true``: the asker answers what the master asks back
    (GET_ASKER_ANSWER)."""

    WAIT = "wait"
    """question: ``true`` keeps the request at the hub until some master offers the
    capability."""

    PARTS = "parts"
    """question, request: Parts of a streamed answer that the asker grants to begin with, 1 to
    1,024."""

    PRIORITY = "priority"
    """question, request: A whole number, -9 to 9, 0 without it: of the requests that wait at a
    master, those of a higher one have their turn first. The hub lowers what its ``Access`` does
    not allow; without one to 0."""

    CHAIN = "chain"
    """question, request: The ids of the requests that led to this one, 16 at the most; of a
    question the hub believes the last that names an open request of which the asker is the
    master, and knows the rest."""

    TASK = "task"
    """run: ``{id, run, attempt, checkpoint?}`` In the request of a task alone. A master that
    reconnects names the ``run`` in TASK_RESUME, and keeps its result until TASK_KEPT."""

    TRACEPARENT = "traceparent"
    """question, request: W3C Trace Context."""

    TRACESTATE = "tracestate"
    """question, request: W3C Trace Context, only beside ``traceparent``."""

    ID = "id"
    """request: The hub's name for the request, a string. A master that asks back, or says
    something of the request meanwhile, names it so."""

    CALLER = "caller"
    """request: The asker's name; proven on a hub with an ``Access`` that names its clients."""

    SENDER = "sender"
    """event: Name of the member that has sent the event."""

    RETAIN = "retain"
    """broadcast: ``true`` has the hub keep the event's data, or forget it where that is null."""

    RETAINED = "retained"
    """retained event: ``true`` says that the event was said before, and that its data is the last
    value."""

    AT = "at"
    """event: When the hub took the event, in milliseconds since 1970 by the hub's clock."""

    NUMBER = "number"
    """event: The event's number in the log or the history of the room, if the hub keeps one."""

    HISTORY = "history"
    """event: The name of the room's log, to which the number belongs."""
