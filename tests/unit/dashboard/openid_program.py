# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An OpenID provider over TLS: openid_program.py PORT FOLDER REDIRECT_URI; in FOLDER are tls.crt and tls.key.

It is oidc-provider-mock, which knows one client here, and takes a code with its PKCE verifier alone. FOLDER/spoil.json
says what is wrong with it: `discovery` has other values, the ID token has others (`claims`), or lacks some (`without`),
or is signed by another `key`, or by another `alg`: with the client's secret, or not at all.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import sys
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import flask
import oidc_provider_mock
import werkzeug.serving
from joserfc import jwt
from joserfc.jwk import RSAKey
from oidc_provider_mock._storage import Client, storage

from tests.unit.dashboard.openid import CLIENT, HOST, PEOPLE, SECRET


def part(data: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(data).encode()).rstrip(b"=").decode()


def parsed(text: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    return content


def provider(folder: Path, redirect_uri: str) -> flask.Flask:
    people = [oidc_provider_mock.User(sub=sub, claims=claims) for sub, claims in PEOPLE.items()]
    app = oidc_provider_mock.app(require_client_registration=True, require_nonce=True, user_claims=people)
    foreign, challenges = RSAKey.generate_key(2048), dict[str, str]()

    @app.before_request
    def known() -> None:
        storage.store_client(
            Client(
                id=CLIENT,
                secret=SECRET,
                redirect_uris=[redirect_uri],
                allowed_scopes=Client.SCOPES_SUPPORTED,
                token_endpoint_auth_method="client_secret_basic",
            )
        )

    @app.before_request
    def right_verifier() -> Any:
        asked = flask.request
        if asked.path == "/oauth2/authorize" and asked.args.get("code_challenge_method") != "S256":
            return {"error": "invalid_request"}, 400
        if asked.path == "/oauth2/token":
            digest = hashlib.sha256(asked.form["code_verifier"].encode()).digest()
            if base64.urlsafe_b64encode(digest).rstrip(b"=").decode() != challenges.pop(asked.form["code"], ""):
                return {"error": "invalid_grant"}, 400
        return None

    @app.after_request
    def told(answer: flask.Response) -> flask.Response:
        if flask.request.path == "/oauth2/authorize" and answer.status_code == 302:
            for code in parse_qs(urlsplit(answer.location).query).get("code", []):
                challenges[code] = flask.request.args["code_challenge"]
        if flask.request.path == "/.well-known/openid-configuration":
            found = answer.get_json()
            # As some do; a client has to know better.
            found["id_token_signing_alg_values_supported"] += ["HS256", "none"]
            answer.set_data(json.dumps({**found, **spoilt(folder).get("discovery", {})}))
        if flask.request.path == "/oauth2/token" and answer.status_code == 200 and (spoil := spoilt(folder)):
            content = answer.get_json()
            header, payload, _signature = content["id_token"].split(".")
            claims = {**parsed(payload), **spoil.get("claims", {})}
            for name in spoil.get("without", []):
                claims.pop(name, None)
            if alg := spoil.get("alg"):
                signed = f"{part({'alg': alg})}.{part(claims)}"
                code = hmac.new(SECRET.encode(), signed.encode(), "sha256").digest() if alg == "HS256" else b""
                content["id_token"] = f"{signed}.{base64.urlsafe_b64encode(code).rstrip(b'=').decode()}"
            else:
                own = RSAKey.import_key(storage.jwk.as_dict(is_private=True))
                content["id_token"] = jwt.encode(parsed(header), claims, foreign if spoil.get("key") else own)
            answer.set_data(json.dumps(content))
        return answer

    return app


def spoilt(folder: Path) -> dict[str, Any]:
    file = folder / "spoil.json"
    content: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {}
    return content


if __name__ == "__main__":
    port, folder = int(sys.argv[1]), Path(sys.argv[2])
    served = provider(folder, sys.argv[3])
    certificate = (str(folder / "tls.crt"), str(folder / "tls.key"))
    werkzeug.serving.make_server(HOST, port, served, threaded=True, ssl_context=certificate).serve_forever()
