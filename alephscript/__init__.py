"""Python SDK for AlephScript meshes.

Subclass `AlephScriptClient`, decorate methods with `capability` and `on`, run it. The hub is in
`alephscript.hub`, the AAIA contract in `alephscript.aaia`, the mesh for tests in
`alephscript.testing`.
"""

from alephscript.client.asking import USE_CLIENT_TIMEOUT, UseClientTimeout
from alephscript.client.client import AlephScriptClient
from alephscript.client.declaring import (
    Capability,
    Declarations,
    Listener,
    Mastery,
    RoomRole,
    capability,
    master,
    observe,
    on,
)
from alephscript.client.discovery import (
    CapabilityStats,
    MasterChange,
    Member,
    MemberInfo,
    MemberStats,
    Offer,
    Survey,
)
from alephscript.client.environment import DEFAULT_HUB as DEFAULT_URL
from alephscript.client.lifecycle import State
from alephscript.client.messages import GAP, Event, Gap, Progress, Question, Request
from alephscript.client.middleware import CallNext, Middleware
from alephscript.client.streams import EventStream
from alephscript.client.tasks import Task, TaskState, TaskStatus
from alephscript.contracts import RequestFor, Secret, register_type
from alephscript.diagnostics import lines as _lines
from alephscript.errors import (
    AlephScriptError,
    AmbiguousRoom,
    Cancelled,
    CapabilityError,
    Closed,
    Conflict,
    ConnectionRefused,
    ContractError,
    DeadlineExceeded,
    DeclarationError,
    Internal,
    InvalidPayload,
    LimitExceeded,
    LinkLost,
    MasterLost,
    NoAnswerer,
    NoMaster,
    NotConnected,
    NotSubscribed,
    Overloaded,
    PayloadTooLarge,
    PermissionDenied,
    RequestError,
    StateError,
    UnknownCapability,
    UnknownEvent,
    UnknownTask,
    http_status,
)
from alephscript.links.transport import Link, Receiver, Transport
from alephscript.protocol.events import Position

__version__ = "0.1.0"

_lines.install()

__all__ = [
    "DEFAULT_URL",
    "GAP",
    "USE_CLIENT_TIMEOUT",
    "AlephScriptClient",
    "AlephScriptError",
    "AmbiguousRoom",
    "CallNext",
    "Cancelled",
    "Capability",
    "CapabilityError",
    "CapabilityStats",
    "Closed",
    "Conflict",
    "ConnectionRefused",
    "ContractError",
    "DeadlineExceeded",
    "DeclarationError",
    "Declarations",
    "Event",
    "EventStream",
    "Gap",
    "Internal",
    "InvalidPayload",
    "LimitExceeded",
    "Link",
    "LinkLost",
    "Listener",
    "MasterChange",
    "MasterLost",
    "Mastery",
    "Member",
    "MemberInfo",
    "MemberStats",
    "Middleware",
    "NoAnswerer",
    "NoMaster",
    "NotConnected",
    "NotSubscribed",
    "Offer",
    "Overloaded",
    "PayloadTooLarge",
    "PermissionDenied",
    "Position",
    "Progress",
    "Question",
    "Receiver",
    "Request",
    "RequestError",
    "RequestFor",
    "RoomRole",
    "Secret",
    "State",
    "StateError",
    "Survey",
    "Task",
    "TaskState",
    "TaskStatus",
    "Transport",
    "UnknownCapability",
    "UnknownEvent",
    "UnknownTask",
    "UseClientTimeout",
    "capability",
    "http_status",
    "master",
    "observe",
    "on",
    "register_type",
]
