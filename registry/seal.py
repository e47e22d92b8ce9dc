"""What the database keeps of the registry's keys, sealed with a key that stays on the hosts."""

from __future__ import annotations

from pathlib import Path

from cryptography.fernet import Fernet, InvalidToken

from registry.trouble import RegistryError


class Seal:
    """The key in a file that only root may read. RegistryError when it is missing or another."""

    def __init__(self, path: Path) -> None:
        try:
            self._fernet = Fernet(path.read_text(encoding="ascii").strip())
        except FileNotFoundError:
            raise RegistryError(f"{path}: missing; `pulumi up` brings it") from None

    def close(self, text: str) -> str:
        """Sealed text."""
        return self._fernet.encrypt(text.encode()).decode()

    def open(self, sealed: str) -> str:
        """What was sealed."""
        try:
            return self._fernet.decrypt(sealed.encode()).decode()
        except InvalidToken:
            raise RegistryError("the kept keys were sealed by another stack") from None
