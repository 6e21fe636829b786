"""How the lab's own parts sign what they ask MAAS."""

from __future__ import annotations

import time
import uuid


def authorization(consumer_key: str, token_key: str, token_secret: str) -> dict[str, str]:
    """The header of one request: OAuth 1.0 with the PLAINTEXT signature (RFC 5849, section 3.4.4)."""
    return {
        "Authorization": (
            f'OAuth oauth_version="1.0", oauth_signature_method="PLAINTEXT", oauth_consumer_key="{consumer_key}", '
            f'oauth_token="{token_key}", oauth_signature="%26{token_secret}", oauth_nonce="{uuid.uuid4().hex}", '
            f'oauth_timestamp="{int(time.time())}"'
        )
    }
