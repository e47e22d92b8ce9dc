"""Whoever calls an API: what each service's own caller starts from."""

from __future__ import annotations

from lab.world.model import AccessKey
from lab.world.services.dnsapi.book import Book
from lab.world.services.dnsapi.call import Account


class Caller:
    """Whoever calls, and what that user may do."""

    def __init__(self, key: AccessKey, account: Account, book: Book) -> None:
        self.account = account
        self.book = book
        self._key = key
