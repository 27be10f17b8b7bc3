"""``alephscript record`` and ``verify``: a mesh written down, and a class asked the same.

May go in: files, and what a person is told. May not: what is recorded, what counts as the same
(`alephscript.recording`).
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import inspect
import signal
from pathlib import Path
from typing import Any, BinaryIO

from alephscript.cli.describing import find_class
from alephscript.cli.options import Add, CliError, auth_of, client
from alephscript.cli.printing import abandon_output, complain, make_line, put_line, write_duration
from alephscript.client import loops
from alephscript.errors import AlephScriptError
from alephscript.protocol import events

__all__ = ["add_to", "add_verify_to"]

_SAME, _DIFFERENT, _WRONG = 0, 1, 2
"""Exit codes of ``verify``: as that of a test."""

_FLUSH_SECONDS = 0.2

_MOST = 1000
"""Characters of a value that are shown."""


def add_to(add: Add) -> None:
    """Add ``record``, which connects to a hub."""
    command = add("record", "write down what is asked, answered and said in rooms", _record)
    command.add_argument(
        "-o", "--output", metavar="FILE", required=True, help="the file, JSON lines"
    )
    command.add_argument(
        "--room",
        metavar="R",
        action="append",
        default=[],
        help="a room; can be given several times (all rooms without it)",
    )


def add_verify_to(add: Add) -> None:
    """Add ``verify``, which needs no hub."""
    command = add("verify", "ask a class what was recorded, and compare the answers", _verify)
    command.add_argument("file", metavar="FILE", help="a recording")
    command.add_argument(
        "--against",
        metavar="MODULE:CLASS",
        required=True,
        help="client class, found from the current directory",
    )
    command.add_argument(
        "--ignore",
        metavar="PATH",
        action="append",
        default=[],
        help="dotted path within the answer that may differ; can be given several times",
    )


async def _record(options: argparse.Namespace) -> None:
    from alephscript.recording import record

    client(options)  # refuses an address, a namespace or a token that cannot be one
    counts: dict[str, int] = {}

    def opened(has_requests: bool) -> None:  # noqa: FBT001 - as it is called
        rooms = ", ".join(options.room) or "all rooms"
        complain(f"alephscript: recording {rooms} into {options.output}; Ctrl+C ends it")
        if not has_requests:
            complain(
                "alephscript: this hub tells events alone, and no contracts: nothing is redacted"
            )

    output = _Output(options.output)
    recording = asyncio.ensure_future(
        record(
            options.url,
            options.room or [events.EVERY_ROOM],
            output.write,
            opened=opened,
            counts=counts,
            namespace=options.namespace,
            auth=auth_of(options),
            connect_timeout=5,
        )
    )
    for number in (signal.SIGINT, signal.SIGTERM):
        loops.listen(number, recording.cancel)
    flushing = asyncio.ensure_future(output.keep_flushing())
    try:
        await asyncio.wait([recording, flushing], return_when=asyncio.FIRST_COMPLETED)
        if flushing.done():
            recording.cancel()
            await asyncio.gather(recording, return_exceptions=True)
            flushing.result()
        with contextlib.suppress(asyncio.CancelledError):
            await recording
        output.close()
    except OSError as exc:
        if isinstance(exc, AlephScriptError):
            raise
        raise CliError(f"cannot write {options.output}: {exc.strerror or exc}") from exc
    finally:
        flushing.cancel()
        with contextlib.suppress(OSError):  # which was said
            output.close()
    if counts:
        told = f"requests: {counts.get('request', 0)}, events: {counts.get('event', 0)}"
        complain(f"alephscript: {options.output} is complete; {told}")


class _Output:
    """The file of a recording, which is not touched before there is something to write."""

    def __init__(self, path: str) -> None:
        self._path = Path(path)
        self._file: BinaryIO | None = None

    def write(self, line: bytes) -> None:
        """Write a line.

        Raises:
            OSError: The file cannot be written.
        """
        if self._file is None:
            self._file = self._path.open("wb")
        self._file.write(line)

    async def keep_flushing(self) -> None:
        """Have the file hold what was written, a moment later; raises as `write`."""
        while True:
            await asyncio.sleep(_FLUSH_SECONDS)
            if self._file is not None:
                self._file.flush()

    def close(self) -> None:
        """Close the file; raises as `write`."""
        if self._file is not None:
            self._file.close()


async def _verify(options: argparse.Namespace) -> None:
    try:
        report = await _replay(options)
    except CliError as error:
        raise CliError(str(error), _WRONG) from error
    except OSError as exc:
        raise CliError(f"cannot read {options.file}: {exc.strerror or exc}", _WRONG) from exc
    except AlephScriptError as error:
        raise CliError(f"{options.file}: {error}", _WRONG) from error
    try:
        _show(report)
    except OSError as exc:
        abandon_output()
        if not isinstance(exc, BrokenPipeError):  # the status tells those, too, who read no more
            raise CliError(f"cannot print the report: {exc.strerror}", _WRONG) from exc
    if not report.is_same:
        raise CliError(f"{options.against} differs from {options.file}", _DIFFERENT)


async def _replay(options: argparse.Namespace) -> Any:
    from alephscript.recording import read_recording, replay
    from alephscript.testing import InMemoryMesh

    with Path(options.file).open("rb") as file:  # noqa: ASYNC230 - before anything runs
        recording = read_recording(file)
    cls = find_class(options.against)
    async with InMemoryMesh() as mesh:
        try:
            inspect.signature(cls).bind(mesh)
        except TypeError as exc:
            raise CliError(f"{options.against} cannot be made by verify: {exc}") from exc
        try:
            return await replay(recording, cls, mesh, ignore=options.ignore)
        except AlephScriptError:
            raise
        except Exception as exc:
            raise CliError(f"{options.against} fails: {type(exc).__name__}: {exc}") from exc


def _show(report: Any) -> None:
    for each in report.notes:
        put_line(f"note: {make_line(each, _MOST)}")
    for each in report.breaks:
        put_line(f"schema: {make_line(each, _MOST)}")
    for each in report.differences:
        then, now = (
            "nothing" if value is None else make_line(value, _MOST)
            for value in (each.then, each.now)
        )
        where = make_line(f"{each.capability} ({each.request}) {each.path}", _MOST)
        put_line(f"answer: {where}: {then} then, {now} now")
    for reason, count in report.not_compared.items():
        put_line(f"not compared: {count}: {make_line(reason, _MOST)}")
    for name, timing in sorted(report.timings.items()):
        then, now = map(write_duration, timing.medians)
        put_line(f"latency: {make_line(name, _MOST)}: {then} then, {now} now")
    compared, places = report.compared, len(report.differences)
    put_line(f"answers compared: {compared}, places that differ: {places}")
