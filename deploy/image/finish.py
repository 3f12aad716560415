# ruff: noqa: INP001 - a script of the image's build, in no package
"""Run once in the image's last stage, as root: take out what no service needs, and prepare for a read-only root."""

import compileall
import importlib.metadata
import os
import py_compile
import shutil
import stat
import subprocess
import sysconfig
from pathlib import Path

INSTALLERS = ("pip", "setuptools", "wheel")
LOADER_PATHS = Path("/etc/ld.so.conf.d/aegis.conf")


def remove_installers() -> None:
    """Remove pip and its like from the base, with the wheels from which Python would install them anew."""
    for name in INSTALLERS:
        for distribution in importlib.metadata.distributions(name=name):
            for file in distribution.files or ():
                Path(str(distribution.locate_file(file))).unlink(missing_ok=True)
        shutil.rmtree(Path(sysconfig.get_path("purelib")) / name, ignore_errors=True)
    shutil.rmtree(Path(sysconfig.get_path("stdlib")) / "ensurepip", ignore_errors=True)
    shutil.rmtree("/usr/share/python-wheels", ignore_errors=True)


def remove_setuid() -> None:
    """Let no program run as another than who calls it."""
    for folder, _, names in os.walk("/usr"):
        for path in (Path(folder, name) for name in names):
            mode = path.lstat().st_mode
            if stat.S_ISREG(mode) and mode & (stat.S_ISUID | stat.S_ISGID):
                path.chmod(stat.S_IMODE(mode) & ~(stat.S_ISUID | stat.S_ISGID))


def compile_library() -> None:
    """Compile Python's own modules: official images leave that to the first start, which cannot write here."""
    mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
    compileall.compile_dir(sysconfig.get_path("stdlib"), quiet=2, workers=0, invalidation_mode=mode)


def find_cuda() -> None:
    """Tell the loader where NVIDIA's packages have their libraries: onnxruntime looks nowhere else."""
    folders = sorted(
        {str(path.parent) for path in Path("/opt/aegis/venv").glob("lib/*/site-packages/nvidia/*/lib/*.so*")}
    )
    if folders:
        LOADER_PATHS.write_text("\n".join([*folders, ""]))
        subprocess.run(["/sbin/ldconfig"], check=True)


# Compiling starts processes that read this file again.
if __name__ == "__main__":
    remove_installers()
    remove_setuid()
    compile_library()
    find_cuda()
