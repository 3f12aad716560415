"""Names of alerts."""

import secrets

ALPHABET = "23456789ABCDEFGHJKMNPQRSTVWXYZ"
"""No digit or letter that is mistaken for another when it is read out."""


def new_alert() -> tuple[str, str]:
    """Make an alert's id and its short reference for people, as ``K7Q-2MX``."""
    reference = "".join(secrets.choice(ALPHABET) for _ in range(6))
    return f"{reference.lower()}-{secrets.token_hex(6)}", f"{reference[:3]}-{reference[3:]}"
