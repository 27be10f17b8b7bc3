"""Keys of an object: the form that a type has as one.

May go in: which types are keys. May not: the object (`forms.containers`).

Pure: no socket, no clock.
"""

from __future__ import annotations

from alephscript.contracts.forms import choices, constraints, containers, scalars, texts
from alephscript.contracts.forms.form import Form

__all__ = ["NoKey", "as_key"]


class NoKey(Exception):
    """A form cannot be that of a key."""


def as_key(form: Form) -> Form:
    """Return the form that a type has as a key.

    Raises:
        NoKey: The type is none for keys.
    """
    if isinstance(form, texts.Identifier):
        return texts.Identifier(is_key=True)  # one spelling, as two keys would be one
    if type(form) is scalars.Integer:
        return containers.IntegerKey()
    if isinstance(form, choices.Choices):
        if form.kinds == {"string"}:
            return form
        if form.kinds == {"number"} and all(type(wire) is int for wire in form.wire):
            return choices.Choices([(value, str(wire)) for value, wire in form.pairs])
    if isinstance(form, constraints.Constrained) and type(form.inner) is scalars.String:
        return form
    if type(form) in (scalars.String, texts.Date):
        return form
    raise NoKey
