"""Forms: for each kind of type what stands on the wire, its schema, its reading and its writing.

A `Form` is the one description of a type. Its schema says what its reader takes, and nothing else;
what its writer gives, its schema takes; what was written and read again is equal (decision 0022).

May go in: a module for each family of types. May not: finding the form of a type
(`alephscript.contracts.finding`), JSON text (`readers`, `writers`).

Pure: no socket, no clock.
"""

__all__: list[str] = []
