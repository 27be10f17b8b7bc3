"""Python SDK for AlephScript meshes.

Subclass `AlephScriptClient`, decorate methods with `capability` and `on`, run it. The hub is in
`alephscript.hub`, the AAIA contract in `alephscript.aaia`, the mesh for tests in
`alephscript.testing`.
"""

from alephscript.client.client import AlephScriptClient
from alephscript.client.declaring import capability, master, observe, on
from alephscript.client.lifecycle import State
from alephscript.client.messages import GAP, Event, Gap, Progress, Request
from alephscript.client.streams import EventStream
from alephscript.contracts import RequestFor
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
)
from alephscript.protocol.events import Position

__all__ = [
    "GAP",
    "AlephScriptClient",
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
    "Event",
    "EventStream",
    "Gap",
    "Internal",
    "InvalidPayload",
    "LimitExceeded",
    "LinkLost",
    "MasterLost",
    "NoMaster",
    "NotConnected",
    "NotSubscribed",
    "Overloaded",
    "PayloadTooLarge",
    "PermissionDenied",
    "Position",
    "Progress",
    "Request",
    "RequestError",
    "RequestFor",
    "State",
    "StateError",
    "UnknownCapability",
    "UnknownEvent",
    "capability",
    "master",
    "observe",
    "on",
]
