"""oidc.yml: the OpenID provider that people may sign in by, and what its groups mean. Read once, at the start."""

from __future__ import annotations

import hashlib
import ssl
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, field_validator, model_validator

from edge_training.dashboard.accounts import in_short

PREFIX = "oidc:"
"""Before the name of whoever signed in by the provider; no name of the users file has a colon."""
Word = Annotated[str, StringConstraints(min_length=1, max_length=256)]


class About(BaseModel):
    """What the file says. `address`: where people open the dashboard, as the provider knows it."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    name: Annotated[str, StringConstraints(pattern=r"^\S(.{0,38}\S)?$")] = "single sign-on"
    issuer: Annotated[str, StringConstraints(pattern=r"^https://[^\s?#]+$")]
    client_id: Word
    client_secret_file: Path = Path("oidc_client_secret")
    ca_file: Path | None = None
    address: Annotated[str, StringConstraints(pattern=r"^https://[^\s/?#@]+$", to_lower=True)]
    scopes: tuple[Word, ...] = ("openid", "profile")
    name_claim: Word = "preferred_username"
    groups_claim: Word = "groups"
    operator_groups: tuple[Word, ...] = ()
    viewer_groups: tuple[Word, ...] = ()
    session_seconds: Annotated[float, Field(ge=60)] = 3600

    @field_validator("address")
    @classmethod
    def _as_browsers_say_it(cls, address: str) -> str:
        return address.removesuffix(":443")

    @field_validator("scopes")
    @classmethod
    def _openid(cls, scopes: tuple[str, ...]) -> tuple[str, ...]:
        if "openid" not in scopes:
            raise ValueError("openid must be among them")
        return scopes

    @model_validator(mode="after")
    def _somebody(self) -> About:
        if not self.operator_groups and not self.viewer_groups:
            raise ValueError("operator_groups or viewer_groups must name a group, else nobody may sign in")
        return self


@dataclass(frozen=True)
class Oidc:
    about: About
    secret: str = field(repr=False)
    trust: ssl.SSLContext

    @property
    def mark(self) -> str:
        """Another one when the file is: sessions that began by the old one end."""
        return hashlib.sha256(self.about.model_dump_json().encode()).hexdigest()[:16]

    def role(self, groups: set[str]) -> Literal["operator", "viewer"] | None:
        if groups & set(self.about.operator_groups):
            return "operator"
        return "viewer" if groups & set(self.about.viewer_groups) else None

    @classmethod
    def read(cls, file: Path) -> Oidc | None:
        """None where there is no such file: nobody signs in by a provider.

        Raises:
            SystemExit: it makes no sense, or a file that it names cannot be read; the message names the field.
        """
        try:
            about = About.model_validate(yaml.safe_load(file.read_text()) or {})
        except FileNotFoundError:
            return None
        except OSError as error:
            raise SystemExit(f"{file}: {error.strerror}") from error
        except (yaml.YAMLError, ValidationError, UnicodeDecodeError) as error:
            raise SystemExit(f"{file}: {in_short(error)}") from error
        secret_file = file.parent / about.client_secret_file
        try:
            secret = secret_file.read_text().strip()
        except (OSError, UnicodeDecodeError) as error:
            raise SystemExit(f"{file}: client_secret_file: {secret_file} cannot be read: {error}") from error
        if not secret:
            raise SystemExit(f"{file}: client_secret_file: {secret_file} is empty; write the client's secret there")
        ca_file = file.parent / about.ca_file if about.ca_file else None
        try:
            # The machine's own authorities where none is named.
            trust = ssl.create_default_context(cafile=ca_file)
        except OSError as error:
            raise SystemExit(f"{file}: ca_file: {ca_file} is no certificate that can be read: {error}") from error
        return cls(about, secret, trust)
