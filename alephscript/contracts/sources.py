"""Functions made for one class each, from source text, as attrs and dataclasses make their own.

A loop over the fields of a class costs a microsecond and more for each value that is read or
written; a function that names each field costs a third of that (decision 0059).

May go in: making a function of source. May not: what such a function does (`writers`,
`forms.records`). No text of an application's is in the source but attributes' names: its classes
and values are among ``names``.

Pure: no socket, no clock.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

__all__ = ["make_function"]


def make_function(
    argument: str, lines: Iterable[str], names: Mapping[str, Any]
) -> Callable[[Any], Any]:
    """Make a function of one argument.

    Args:
        argument: Name of the argument.
        lines: Statements of its body.
        names: All that they name besides.
    """
    source = f"def made({argument}):\n" + "".join(f"    {line}\n" for line in lines)
    scope: dict[str, Any] = dict(names)
    exec(compile(source, "<alephscript contract>", "exec"), scope)  # noqa: S102 - ours, see above
    made: Callable[[Any], Any] = scope["made"]
    return made
