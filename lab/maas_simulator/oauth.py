"""OAuth 1.0 PLAINTEXT, as MAAS, its clients and cloud-init speak it."""

from __future__ import annotations

import hmac
import re
from dataclasses import dataclass
from urllib.parse import unquote

from lab.maas_simulator.answer import HTML, Answer
from lab.maas_simulator.errors import RefusedError

_PAIR = re.compile(r'(\w+)="([^"]*)"')


@dataclass(frozen=True)
class Credentials:
    """What an Authorization header claims."""

    consumer: str
    token: str
    signature: str
    method: str

    def prove(self, consumer: str, token: str, secret: str) -> bool:
        """Whether the claim is this key's. The signature is `&SECRET`: the consumer secret is empty."""
        wanted = f"{consumer}\n{token}\n&{secret}".encode()
        given = f"{self.consumer}\n{self.token}\n{self.signature}".encode()
        return self.method == "PLAINTEXT" and hmac.compare_digest(wanted, given)


def read_header(value: str | None) -> Credentials | None:
    """The claim of an `Authorization: OAuth ...` header; None where there is none."""
    if not value or not value.lower().startswith("oauth"):
        return None
    fields = {name: unquote(content) for name, content in _PAIR.findall(value)}
    return Credentials(
        consumer=fields.get("oauth_consumer_key", ""),
        token=fields.get("oauth_token", ""),
        signature=fields.get("oauth_signature", ""),
        method=fields.get("oauth_signature_method", ""),
    )


def unauthorized(text: str = "Authorization Error: Invalid API key.") -> RefusedError:
    """401 as recorded with a wrong key."""
    return RefusedError(Answer(401, text, HTML, {"WWW-Authenticate": 'OAuth realm="OAuth"'}))
