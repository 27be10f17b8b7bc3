"""Recordings: what was asked, answered and said in rooms, kept in a file and asked again.

`record` writes a file of a mesh's rooms, `read_recording` reads one, and `replay` asks a class the
same on any mesh and compares the answers.

May go in: what a program outside the mesh does with records. May not: what a hub tells, what the
command line prints.
"""

from __future__ import annotations

from alephscript.recording.lines import Header, Recording, read_recording
from alephscript.recording.player import replay
from alephscript.recording.recorder import record
from alephscript.recording.report import Difference, Report, Timing

__all__ = [
    "Difference",
    "Header",
    "Recording",
    "Report",
    "Timing",
    "read_recording",
    "record",
    "replay",
]
