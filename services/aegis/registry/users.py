"""The people who may review alerts: names and public keys, and whether something was signed by one of them."""

import secrets
import time

from aegis.contracts.messages import ListAll, Remove
from aegis.contracts.people import AddUser, ShowAlert, SignedReview, UserRecord
from aegis.registry.core import RequestError
from aegis.registry.vault import Vault
from aegis.runtime import person_keys
from aegis.runtime.person_keys import PersonKeyError

NAME_LENGTH = 100
FRESH_SECONDS = 60.0
"""What was signed longer ago or later than this, by the registry's clock, is refused."""


class Users:
    """Everybody who may review."""

    def __init__(self, vault: Vault) -> None:
        self._vault = vault

    def known(self) -> dict[str, UserRecord]:
        return self._vault.opened(UserRecord, "users")

    async def add(self, request: AddUser) -> object:
        """Add a person.

        Raises:
            RequestError: saying what is wrong.

        """
        name = request.name.strip()
        if not name:
            raise RequestError("a name is needed")
        if len(name) > NAME_LENGTH or not name.isprintable():
            raise RequestError(f"a name has at most {NAME_LENGTH} letters, all of them printable")
        try:
            person_keys.public_bytes(request.public_key)
        except PersonKeyError as error:
            raise RequestError(f"the key cannot be used: {error}") from None
        for user in self.known().values():
            # Whoever has two keys could confirm twice.
            if user.name.casefold() == name.casefold():
                raise RequestError(f"there is a user {user.name!r} already; remove that one first, or add a surname")
            if user.public_key == request.public_key:
                raise RequestError(f"this key is {user.name}'s already")
        record = UserRecord(id=secrets.token_hex(6), name=name, public_key=request.public_key, added_at=time.time())
        await self._vault.write("users", record.id, record)
        return _listed(record)

    async def remove(self, request: Remove) -> object:
        """Remove a person: reviews that are not told yet do not count any more.

        Raises:
            RequestError: there is no such user.

        """
        record = self.known().get(request.id)
        if record is None:
            raise RequestError(f"there is no user {request.id!r}; see: aegis user list")
        await self._vault.delete("users", record.id)
        return _listed(record)

    async def list_all(self, _: ListAll) -> object:
        return [_listed(record) for record in sorted(self.known().values(), key=lambda record: record.added_at)]

    def signer(self, request: SignedReview | ShowAlert, now: float) -> UserRecord:
        """Give the user who signed a request just now.

        Raises:
            RequestError: nobody of this site did, or at another time.

        """
        user = next((user for user in self.known().values() if user.public_key == request.public_key), None)
        if user is None:
            raise RequestError(f"no user has the key {request.public_key[:80]!r}; see: aegis user list")
        if not abs(now - request.at) <= FRESH_SECONDS:
            off = abs(now - request.at)
            raise RequestError(f"the time of signing is {off:.0f} s off the registry's clock; set the clocks right")
        if not person_keys.verify(user.public_key, request.signed, request.signature):
            raise RequestError(f"the signature is not {user.name}'s")
        return user


def _listed(record: UserRecord) -> dict[str, object]:
    return {"id": record.id, "name": record.name, "public_key": record.public_key, "added_at": record.added_at}
