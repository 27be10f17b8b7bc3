"""Python SDK for AlephScript meshes.

Subclass `AlephScriptClient`, decorate methods with `capability` and `on`, run it. The hub is in
`alephscript.hub`, the AAIA contract in `alephscript.aaia`, the mesh for tests in
`alephscript.testing`.
"""

from alephscript.capabilities import (
    GAP,
    Event,
    Gap,
    Progress,
    Request,
    capability,
    master,
    observe,
    on,
)
from alephscript.client import (
    AlephScriptClient,
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
from alephscript.lifecycle import State
from alephscript.streams import EventStream
from alephscript.wire import Position

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
