"""Files that the site file names: on this machine, or in the pod that reads them."""

import ssl

from aegis.runtime.yaml_section import Values

MOUNTED = "/etc/aegis/"
"""Below it pods have what is mounted into them."""


def check_certificate(values: Values, line: int, path: str) -> None:
    """Take note of a file in which there is no certificate."""
    try:
        ssl.create_default_context(cafile=path)
    except (OSError, ssl.SSLError) as error:
        values.problem(line, f"ca: {path} holds no certificate: {error.strerror or error}")


def check_mounted(values: Values, line: int, key: str, path: str, deployment: str) -> None:
    """Take note of a file that no pod can have."""
    if not path.startswith(MOUNTED):
        values.problem(
            line,
            f"{key}: no pod has {path} of this machine; make it a Secret, mount that below {MOUNTED} in {deployment},"
            " and write the path that it has there",
        )
