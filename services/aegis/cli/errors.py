"""What a command says when it cannot do what it was asked."""


class CommandError(Exception):
    """A sentence for the person at the terminal; ``code`` is what the process exits with."""

    def __init__(self, text: str, code: int = 1) -> None:
        self.code = code
        super().__init__(text)
