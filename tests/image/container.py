"""A built image as a cluster runs it: user 10001, no privileges, a read-only root and an empty /tmp.

``buildah run`` cannot make a root read-only, so a command gets a mount namespace of its own here. Needs root.
"""

import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

USER = 10001
ENTER = """
set -e
root=$0 shared=$1
shift
mount --bind "$root" "$root"
mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
mount --rbind /sys "$root/sys"
mkdir -p "$root$shared"
mount --bind "$shared" "$root$shared"
mount -o remount,ro,bind "$root"
exec setpriv --no-new-privs chroot --userspec=10001:10001 --groups= "$root" /usr/bin/env --ignore-environment "$@"
"""


class Container:
    """A container of an image; ``shared`` is a directory below /tmp that is seen there too."""

    def __init__(self, image: str, shared: Path) -> None:
        self.image = image
        self.shared = shared
        self.description: dict[str, Any] = json.loads(buildah("inspect", "--type", "image", image))
        self.config: dict[str, Any] = self.description["OCIv1"]["config"]
        self._processes: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        self.name = buildah("from", self.image)
        self.root = Path(buildah("mount", self.name))
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes:
            if process.poll() is None:
                process.kill()
                process.wait()
        buildah("rm", self.name)

    def start(
        self, command: Sequence[str], environ: Mapping[str, str] | None = None, log: Path | None = None
    ) -> subprocess.Popen[bytes]:
        """Start a command with the image's environment and ``environ``; its process is the command itself."""
        variables = [*self.config["Env"], *(f"{name}={value}" for name, value in (environ or {}).items())]
        words = [str(self.root), str(self.shared), f"--chdir={self.config['WorkingDir']}", *variables, *command]
        with (log or Path(os.devnull)).open("wb") as output:
            process = subprocess.Popen(
                ["unshare", "--mount", "--propagation", "private", "sh", "-c", ENTER, *words],
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        self._processes.append(process)
        return process

    def run(self, *command: str, environ: Mapping[str, str] | None = None) -> tuple[int, str]:
        """Run a command to its end; give its exit code and what it printed."""
        log = self.shared / "run.log"
        code = self.start(command, environ, log).wait(timeout=120)
        return code, log.read_text().strip()


def buildah(*words: str) -> str:
    """Run buildah and give what it printed; raises CalledProcessError."""
    return subprocess.run(["buildah", *words], check=True, stdout=subprocess.PIPE, text=True).stdout.strip()
