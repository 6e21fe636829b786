"""Who may sign in: the users file, read anew when it has changed."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Annotated, Literal

import bcrypt
import yaml
from pydantic import BaseModel, ConfigDict, StringConstraints, TypeAdapter, ValidationError

from edge_training.problem import ProblemError

# Takes as long as a real one, so that the time does not tell which names there are.
NOBODY = b"$2b$12$vzjOcHDZxVpDmTK3SvRMj.47LNyCvbplKu1CPXcOjBkuKmXkvXo1e"
PASSWORD_BYTES = 72


class Account(BaseModel):
    """`password_hash` by bcrypt: htpasswd -nBC 12 NAME."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    name: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9@._-]{0,63}$")]
    password_hash: Annotated[str, StringConstraints(pattern=r"^\$2[aby]\$[0-9]{2}\$[./A-Za-z0-9]{53}$")]
    role: Literal["viewer", "operator"] = "viewer"

    @property
    def mark(self) -> str:
        """Another one when the password is: sessions of the old one end."""
        return hashlib.sha256(self.password_hash.encode()).hexdigest()[:16]


ACCOUNTS = TypeAdapter(list[Account])


class Accounts:
    def __init__(self, file: Path) -> None:
        self._file, self._seen, self._known = file, (0, 0), dict[str, Account]()

    def find(self, name: str) -> Account | None:
        """Raises ProblemError where the file cannot be read or makes no sense."""
        try:
            about = self._file.stat()
            if (about.st_mtime_ns, about.st_ino) != self._seen:
                accounts = ACCOUNTS.validate_python(yaml.safe_load(self._file.read_text()) or [])
                self._known = {one.name: one for one in accounts}
                self._seen = (about.st_mtime_ns, about.st_ino)
        except OSError as error:
            raise ProblemError(503, "No users are known", f"{self._file}: {error.strerror}. Write it.") from error
        except (yaml.YAMLError, ValidationError, UnicodeDecodeError) as error:
            raise ProblemError(503, "The users file makes no sense", f"{self._file}: {in_short(error)}") from error
        return self._known.get(name)

    def admit(self, name: str, password: str) -> Account | None:
        """The account, if this is its password."""
        account = self.find(name)
        expected = account.password_hash.encode() if account else NOBODY
        given = password.encode()
        right = bcrypt.checkpw(given[:PASSWORD_BYTES], expected) and len(given) <= PASSWORD_BYTES
        return account if right else None


def in_short(error: Exception) -> str:
    if isinstance(error, ValidationError):
        wrong = error.errors(include_input=False)[0]
        return f"{'.'.join(map(str, wrong['loc'])) or 'file'}: {wrong['msg']}"
    # YAML's own message would quote the line, which may be a hash.
    mark = getattr(error, "problem_mark", None)
    return f"line {mark.line + 1} is no YAML" if mark else "it is no YAML"
