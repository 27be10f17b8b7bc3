"""What of the package is in C, compiled where that is possible: else the package is pure Python.

May go in: how `alephscript/protocol/_wire.pyx` gets into a wheel, or beside itself for an editable
installation. May not: a condition by which the package does something else; `protocol.wire` takes
what is there.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

MODULE = "alephscript.protocol._wire"
VARIABLE = "ALEPHSCRIPT_COMPILE"
"""The environment variable: ``1`` makes a failure an error, ``0`` compiles nothing."""


class CompiledPart(BuildHookInterface[Any]):
    """Hatchling's hook: called before a wheel is put together."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile, and make the wheel one of this platform; or leave it as it is, and say why."""
        source = find_source(Path(self.root))
        is_editable = version == "editable"
        if is_editable:
            for old in source.parent.glob(f"_wire.{sys.implementation.cache_tag}*"):
                old.unlink()  # of an earlier source, or of before this was forbidden
        wish = os.environ.get(VARIABLE)
        if wish == "0":
            return
        self._folder = Path(tempfile.mkdtemp(prefix="alephscript-"))
        try:
            built = compile_module(source, self._folder)
        except BaseException as exc:
            if wish == "1" or not isinstance(exc, Exception | SystemExit):
                raise
            reason = str(exc).strip().splitlines() or [type(exc).__name__]
            self.app.display_warning(
                f"alephscript will be pure Python, since C was not compiled: {reason[0]}"
            )
            return
        if is_editable:
            put_beside(source, built)
        else:
            inside = source.parent.relative_to(self.root) / built.name
            build_data["force_include"][str(built)] = str(inside)
            build_data["pure_python"] = False
            build_data["infer_tag"] = True

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:  # noqa: ARG002 - hatchling's
        """Remove what is in the wheel now."""
        folder = getattr(self, "_folder", None)
        if folder is not None:
            shutil.rmtree(folder, ignore_errors=True)


def find_source(root: Path) -> Path:
    """Return the path of what is compiled."""
    return Path(root, *MODULE.split(".")).with_suffix(".pyx")


def put_beside(source: Path, built: Path) -> None:
    """Put what was compiled where a checkout is imported from."""
    place = source.parent / built.name
    shutil.copy2(built, place.with_suffix(".new"))
    place.with_suffix(".new").replace(place)  # a program that has it open keeps the old one


def compile_module(source: Path, folder: Path) -> Path:
    """Compile a module into a folder.

    Raises:
        RuntimeError: This Python has no use for it.
        ImportError: A tool is missing.
        Exception: The compiler, or its absence.
    """
    is_locked = not sysconfig.get_config_var("Py_GIL_DISABLED")  # readers are for one thread each
    if not (sys.implementation.name == "cpython" and sys.maxsize > 1 << 32 and is_locked):
        raise RuntimeError("it is for CPython of 64 bits, with its lock")
    from Cython.Build import cythonize
    from setuptools import Distribution, Extension

    options = [] if sys.platform == "win32" else ["-O3", "-g0"]
    written = folder / "_wire.pyx"
    digest = hashlib.sha256(source.read_bytes()).hexdigest()  # a test sees what is out of date
    written.write_text(f'{source.read_text()}\n__source__ = "{digest}"\n')
    extension = Extension(MODULE, [str(written)], extra_compile_args=options)
    command = Distribution(
        {"ext_modules": cythonize([extension], quiet=True, force=True)}
    ).get_command_obj("build_ext")
    command.build_lib, command.build_temp = str(folder / "lib"), str(folder / "temp")
    command.ensure_finalized()
    command.run()
    [built] = (folder / "lib").rglob("_wire*")
    return built


if __name__ == "__main__":  # in a checkout, after a change
    with tempfile.TemporaryDirectory(prefix="alephscript-") as name:
        pyx = find_source(Path(__file__).parent)
        put_beside(pyx, compile_module(pyx, Path(name)))
