"""Python SDK for AlephScript meshes.

Subclass `AlephScriptClient`, decorate methods with `capability` and `on`, run it. The hub is in
`alephscript.hub`, the AAIA contract in `alephscript.aaia`, the mesh for tests in
`alephscript.testing`.
"""

from alephscript.capabilities import (
    Event,
    Request,
    capability,
    observe,
    on,
)
from alephscript.client import (
    AlephScriptClient,
    State,
)
from alephscript.contracts import (
    RequestFor,
)
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
from alephscript.streams import EventStream

__all__ = [
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
    "Internal",
    "InvalidPayload",
    "LinkLost",
    "MasterLost",
    "NoMaster",
    "NotConnected",
    "NotSubscribed",
    "Overloaded",
    "PayloadTooLarge",
    "PermissionDenied",
    "Request",
    "RequestError",
    "RequestFor",
    "State",
    "StateError",
    "UnknownCapability",
    "UnknownEvent",
    "capability",
    "observe",
    "on",
]
