"""The mesh: one input in, a list of effects out.

May go in: the rules by which a hub decides. May not: a socket, a clock, a task; nor contracts and
links. Only `hub` and `testing` import it. `mesh` is where inputs come in; each other module holds
one kind of rule, and imports only modules that stand above it here:

==============  ===================================================================
`effects`       what a mesh wants done
`access`        who may connect, and what each client may do
`limits`        how much one client may take
`history`       recent events of a room, for clients that reconnect
`pages`         what was read of a log of rooms
`meta`          what an asker says about its request
`peers`         peers, declarations, open requests, and what a dialect has to offer
`masters`       which declarations a room keeps, and which master serves
`rooms`         rooms, their members and events, and the room that is to answer
`dialects`      how a peer of each dialect is asked, told, cancelled, answered
`requests`      how a request begins, waits, and ends
`answers`       which request the SET_ event of a master answers
`reports`       what a hub tells about itself
`log`           rooms of which all is kept that members say
`federation`    the other hubs of a mesh
`mesh`          the inputs
==============  ===================================================================
"""

__all__: list[str] = []
