"""The same traffic for as long as you like, mutated by what it reaches in the code.

Not collected by pytest. With atheris installed::

    python -m tests.hub.fuzz_longer -max_total_time=60

The options are libFuzzer's. What it finds is written to ``crash-…`` in the working directory, the
lines of `traffic` as they are; give that file as the only argument to play it again.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["alephscript"]):
    from tests.hub.traffic import HOSTILE, JOINED, LIVES, OPENINGS, Stage

WORDS = [
    *("40/runtime,", "41/runtime,", "42/runtime,1[", "43/runtime,1[", "451-", "\n~\n", "\n-a\n"),
    *("CLIENT_REGISTER", "CLIENT_SUSCRIBE", "CLIENT_UNSUSCRIBE", "MAKE_MASTER", "ROOM_MESSAGE"),
    *("CANCEL_REQUEST", "REQUEST_MORE", "REQUEST_PART", "REQUEST_PROGRESS", "GET_X", "SET_X"),
    *("usuario", "protocol", "alephscript/1", "room", "out", "features", "group", "standby"),
    *("shared", "descriptions", "idempotent", "event", "data", "request", "requestId", "parts"),
    *("timeoutMs", "wait", "chain", "true", "null", "NaN", "1e999", "\\ud800"),
]


def play(data: bytes) -> None:
    """One input: lines, on a hub of their own."""
    with Stage() as stage:
        stage.play(data.split(b"\n"))


def seeds() -> list[bytes]:
    """Each hostile frame after each way to begin, and each way that a request can end."""
    hostile = [
        [*(b"a" + message for message in opening), b"a" + frame]
        for opening in OPENINGS
        for frame in HOSTILE
    ]
    return [b"\n".join(lines) for lines in [*(JOINED + life for life in LIVES.values()), *hostile]]


def quoted(word: str) -> str:
    """A word as libFuzzer's dictionaries have it."""
    return "".join(f"\\x{byte:02x}" for byte in word.encode())


def main() -> None:
    """Fuzz, from the seeds unless the command line names files."""
    with tempfile.TemporaryDirectory() as folder:
        corpus, words = Path(folder) / "corpus", Path(folder) / "words"
        corpus.mkdir()
        for number, seed in enumerate(seeds()):
            (corpus / f"{number:04}").write_bytes(seed)
        words.write_text("".join(f'"{quoted(word)}"\n' for word in WORDS))
        files = [argument for argument in sys.argv[1:] if not argument.startswith("-")]
        options = [] if files else [f"-dict={words}", "-max_len=4096", str(corpus)]
        atheris.Setup([*sys.argv, *options], play)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
