"""Wrong usage of the command line: one sentence, the name that was meant, status 2."""

from __future__ import annotations

import re

import pytest

from alephscript.cli import main


@pytest.mark.parametrize(
    ("line", "meant"),
    [
        ("reqquest GREET", "; did you mean request?"),
        ("Request GREET", "; did you mean request?"),
        ("request GREET --rom X", "; did you mean --room?"),
        ("request GREET --tokn=s3cret", "; did you mean --token?"),
        ("request GREET --Room X", "; did you mean --room?"),
        ("completion Fish", "; did you mean fish?"),
        ("top --sort Busy", "; did you mean busy?"),
        ("completion perl", ""),
        ("nonsense", ""),
        ("name", ""),
        ("request GREET --nonsense", ""),
        ("request GREET {} x", ""),
        ("hub --prt 3", "; did you mean --port?"),
    ],
)
def test_the_command_or_option_that_was_meant_is_named(
    line: str, meant: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where there is a near one."""
    with pytest.raises(SystemExit) as ended:
        main(line.split())
    last = capsys.readouterr().err.splitlines()[-1]
    assert ended.value.code == 2
    assert re.match(r"alephscript(?: \w+)?: error: ", last)
    assert "names" not in last  # which is for programs
    assert last.endswith(meant)
    assert ("did you mean" in last) is bool(meant)
