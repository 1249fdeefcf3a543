"""The one part that is compiled: the native hash lanes. The rest of the package's build is in pyproject.toml.

Without a compiler or Python's headers the package builds and works all the same: nips.pool.lanes then hashes in pure
Python, and says so.
"""

import os
import shutil
import sys
import sysconfig
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext


def missing() -> str:
    """What this machine lacks to compile, "" for nothing."""
    compiler = (os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc").split()[0]
    if shutil.which(compiler) is None:
        return f"no C compiler ({compiler})"
    if not Path(sysconfig.get_path("include"), "Python.h").is_file():
        return "no Python.h (Debian: python3-dev)"
    return ""


class BuildLanes(build_ext):
    """Says what is missing in one line, where a compiler says it in twenty."""

    def build_extension(self, ext: Extension) -> None:
        lack = missing()
        if lack:
            print(f"{lack}: shares will be hashed in pure Python, at a tenth of the speed", file=sys.stderr)
        else:
            super().build_extension(ext)


setup(
    ext_modules=[
        Extension(
            "nips.pool._lanes",
            ["nips/pool/_lanes.c"],
            depends=[str(path) for path in sorted(Path("nips/pool").glob("_lanes_*.h"))],
            # The vectors never cross a call between files: their calling convention does not matter.
            extra_compile_args=["-O3", "-g0", "-Wno-psabi"],
            py_limited_api=True,
            optional=True,
        )
    ],
    cmdclass={"build_ext": BuildLanes},
    options={"bdist_wheel": {"py_limited_api": "cp311"}},
)
