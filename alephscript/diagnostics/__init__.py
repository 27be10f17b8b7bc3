"""What is seen of a client or a hub at work: debugging output, redaction of logs, traces.

May go in: what watches and changes nothing. May not: what a request needs to be answered.
"""

__all__: list[str] = []
