"""Views of a client or a hub at work: debugging output, redaction of logs, traces.

May go in: what watches and changes nothing, for both sides or for clients. May not: anything that a
request needs to be answered, or that knows `mesh` or `hub`; what a hub shows besides is in
`hub.debugging` and `hub.tracing`.
"""

__all__: list[str] = []
