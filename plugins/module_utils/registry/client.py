# -*- coding: utf-8 -*-
# Copyright: (c) 2026, The edge.rack engineers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The one way to a registry: the HTTP API of the OCI distribution spec 1.1, with the standard library alone.

It signs in as the registry asks (basic, or a bearer token of the realm that it names), keeps one connection, follows
pages (RFC 8288 ``Link``), waits where it is told to (429, 503, ``Retry-After``), and reads nothing without checking
its digest. Proxies of the environment are not used: a registry is on the rack's own network.
"""

from __future__ import annotations

import base64
import email.utils
import hashlib
import http.client
import json
import re
import ssl
import tempfile
import time
import typing as t
from urllib.parse import quote, urlencode, urljoin, urlsplit

from .connection import RegistryConnection, is_loopback
from .errors import (
    RegistryBusy,
    RegistryCorrupt,
    RegistryError,
    RegistryNotFound,
    RegistrySettingsError,
    RegistryUnreachable,
    RegistryUntrusted,
    error_for,
)
from .manifests import ACCEPT, CHUNK, Manifest, digest_of, digest_of_file, is_digest

PAGE = 500
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 30.0
MOST_REDIRECTS = 5
READS = ("GET", "HEAD")
REPOSITORY = re.compile(r"[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*\Z")
TAG = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}\Z")
"""Both as the distribution spec has them ("Pulling manifests")."""

Headers = t.Dict[str, str]
Body = t.Union[bytes, t.BinaryIO]


class Answer(t.NamedTuple):
    status: int
    headers: http.client.HTTPMessage
    content: bytes


class RegistryClient:
    """A synchronous client; ``with`` closes its connection."""

    def __init__(
        self,
        connection: RegistryConnection,
        sleep: t.Callable[[float], None] = time.sleep,
        clock: t.Callable[[], float] = time.monotonic,
    ) -> None:
        self.connection = connection.checked()
        self._sleep, self._clock = sleep, clock
        self._http = None  # type: t.Optional[http.client.HTTPConnection]
        self._tls = self.connection.tls() if self.connection.url.startswith("https:") else None
        self._basic_asked = False
        self._scope_tokens = {}  # type: t.Dict[str, str]

    def __enter__(self) -> RegistryClient:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def close(self) -> None:
        if self._http is not None:
            self._http.close()
            self._http = None

    # -- What the spec offers -------------------------------------------------------------------

    def check(self) -> None:
        """Raise RegistryError unless a registry answers that lets us in."""
        self._call("Connecting to %s" % self.connection.url, "GET", "/v2/", expect=(200,))

    def repositories(self) -> t.List[str]:
        """All repositories (``_catalog``)."""
        return self._pages("Listing the repositories", "/v2/_catalog", "repositories")

    def tags(self, repository: str) -> t.List[str]:
        """All tags, sorted; none where there is no such repository."""
        asked = "Listing the tags of %s" % repository
        try:
            return sorted(self._pages(asked, "/v2/%s/tags/list" % _repository(asked, repository), "tags"))
        except RegistryNotFound:
            return []

    def digest(self, repository: str, reference: str) -> t.Optional[str]:
        """The digest behind a tag or digest, None if there is none."""
        asked = "Looking up %s" % full_name(repository, reference)
        path = _manifest_path(asked, repository, reference)
        answer = self._call(asked, "HEAD", path, {"Accept": ACCEPT}, expect=(200, 404))
        if answer.status == 404:
            return None
        found = answer.headers.get("Docker-Content-Digest")
        if found:
            return found
        manifest = self.manifest(repository, reference)
        return manifest.digest if manifest else None

    def manifest(self, repository: str, reference: str) -> t.Optional[Manifest]:
        """The manifest or index behind a tag or digest, None if there is none; its digest is checked."""
        asked = "Reading the manifest of %s" % full_name(repository, reference)
        path = _manifest_path(asked, repository, reference)
        answer = self._call(asked, "GET", path, {"Accept": ACCEPT}, expect=(200, 404))
        if answer.status == 404:
            return None
        manifest = Manifest.parse(asked, answer.content, answer.headers.get("Content-Type") or "")
        named = reference if is_digest(reference) else answer.headers.get("Docker-Content-Digest")
        if named and manifest.digest != named:
            raise RegistryCorrupt(asked, "what came has the digest %s, not %s" % (manifest.digest, named))
        return manifest

    def put_manifest(self, repository: str, reference: str, content: bytes, media_type: str) -> str:
        """Push a manifest whose blobs are there; returns its digest."""
        asked = "Pushing the manifest of %s" % full_name(repository, reference)
        path = _manifest_path(asked, repository, reference)
        self._call(asked, "PUT", path, {"Content-Type": media_type}, content, expect=(201,))
        return digest_of(content)

    def delete_manifest(self, repository: str, reference: str) -> bool:
        """Delete a manifest by digest, or a tag where the registry can; False if there was none."""
        asked = "Deleting %s" % full_name(repository, reference)
        path = _manifest_path(asked, repository, reference)
        return self._call(asked, "DELETE", path, expect=(202, 404)).status == 202

    def blob_size(self, repository: str, digest: str) -> t.Optional[int]:
        """Bytes of a blob as the registry tells, None if it is not there."""
        asked = "Looking up the blob %s of %s" % (digest, repository)
        answer = self._call(asked, "HEAD", _blob_path(asked, repository, digest), expect=(200, 404))
        return None if answer.status == 404 else int(answer.headers.get("Content-Length") or 0)

    def blob(self, repository: str, digest: str) -> bytes:
        """A small blob as a whole, such as an image's configuration; its digest is checked."""
        parts = []  # type: t.List[bytes]
        self.read_blob(repository, digest, parts.append)
        return b"".join(parts)

    def read_blob(self, repository: str, digest: str, sink: t.Callable[[bytes], object] = len) -> int:
        """Read a whole blob in pieces and check it against its digest; returns its bytes.

        Raises RegistryNotFound if it is not there and RegistryCorrupt if it is not what its digest says.
        """
        asked = "Reading the blob %s of %s" % (digest, repository)
        sha = hashlib.sha256()
        size = [0]

        def take(part: bytes) -> None:
            sha.update(part)
            size[0] += len(part)
            sink(part)

        self._call(asked, "GET", _blob_path(asked, repository, digest), expect=(200,), take=take)
        if "sha256:" + sha.hexdigest() != digest:
            raise RegistryCorrupt(asked, "%d bytes came that have the digest sha256:%s" % (size[0], sha.hexdigest()))
        return size[0]

    def put_blob(self, repository: str, content: Body) -> str:
        """Push a blob, or a file of any size piece by piece, if it is not there; returns its digest."""
        digest = digest_of(content) if isinstance(content, bytes) else digest_of_file(content)
        if self.blob_size(repository, digest) is None:
            self._upload("Pushing the blob %s to %s" % (digest, repository), repository, digest, content)
        return digest

    def mount_blob(self, source: str, repository: str, digest: str) -> None:
        """Give a repository a blob of another one; by its bytes only where the registry does not mount."""
        asked = "Mounting the blob %s of %s in %s" % (digest, source, repository)
        _blob_path(asked, source, digest)
        query = urlencode({"mount": digest, "from": source})
        path = "/v2/%s/blobs/uploads/?%s" % (_repository(asked, repository), query)
        answer = self._call(asked, "POST", path, expect=(201, 202), scope_from=source)
        if answer.status == 202:
            with tempfile.TemporaryFile() as layer:
                self.read_blob(source, digest, layer.write)
                self._upload(asked, repository, digest, t.cast(t.BinaryIO, layer), answer)

    def accepts_pushes(self, repository: str) -> bool:
        """Whether an upload can be begun; one that is begun is taken back."""
        asked = "Beginning an upload to %s" % repository
        begun = self._call(asked, "POST", "/v2/%s/blobs/uploads/" % _repository(asked, repository), expect=(202, 405))
        if begun.status == 202 and begun.headers.get("Location"):
            self._call(asked, "DELETE", begun.headers["Location"], expect=(204, 404))
        return begun.status == 202

    def _upload(
        self, asked: str, repository: str, digest: str, content: Body, begun: t.Optional[Answer] = None
    ) -> None:
        """Send a blob. An upload that a restart of the registry cut is dead: a new one is begun."""
        path = "/v2/%s/blobs/uploads/" % _repository(asked, repository)
        end = self._clock() + self.connection.retry_seconds
        pause = FIRST_PAUSE
        while True:
            begun = begun or self._call(asked, "POST", path, expect=(202,))
            try:
                self._finish_upload(asked, begun, digest, content)
                return
            except RegistryBusy as error:
                wait = max(pause, error.retry_after)
                if self._clock() + wait > end:
                    raise
            self._sleep(wait)
            pause = min(pause * 2, LONGEST_PAUSE)
            begun = None

    def _finish_upload(self, asked: str, begun: Answer, digest: str, content: Body) -> None:
        location = begun.headers.get("Location")
        if not location:
            raise RegistryError(asked, "the registry began an upload and did not say where")
        location = urljoin(self.connection.url + "/", location)
        location += ("&" if "?" in location else "?") + urlencode({"digest": digest})
        length = len(content) if isinstance(content, bytes) else content.seek(0, 2)
        headers = {"Content-Type": "application/octet-stream", "Content-Length": str(length)}
        self._call(asked, "PUT", location, headers, content, expect=(201,), repeat=False)

    def _pages(self, asked: str, path: str, key: str) -> t.List[str]:
        found = []  # type: t.List[str]
        seen = set()  # type: t.Set[str]
        following = "%s?n=%d" % (path, PAGE)  # type: t.Optional[str]
        while following and following not in seen:
            seen.add(following)
            answer = self._call(asked, "GET", following, expect=(200,))
            found += _json(asked, answer.content).get(key) or []
            link = re.search(r'<([^>]+)>\s*;\s*rel="?next"?', answer.headers.get("Link") or "")
            following = urljoin(following, link.group(1)) if link else None
        return found

    # -- One call, with signing in, waiting and redirects ------------------------------------------

    def _call(
        self,
        asked: str,
        method: str,
        url: str,
        headers: t.Optional[Headers] = None,
        body: t.Optional[Body] = None,
        *,
        expect: t.Sequence[int],
        take: t.Optional[t.Callable[[bytes], None]] = None,
        scope_from: t.Optional[str] = None,
        repeat: bool = True,
    ) -> Answer:
        url = urljoin(self.connection.url + "/", url)
        if not self._is_ours(url):
            raise RegistryError(asked, "the registry names an address of another server: %s" % url)
        headers = dict(headers or {}, **{"User-Agent": "edge.rack"})
        end = self._clock() + self.connection.retry_seconds
        pause = FIRST_PAUSE
        signed_in = False
        while True:
            try:
                answer = self._follow(asked, method, url, headers, body, take)
                if answer.status in expect:
                    return answer
                if answer.status == 401 and not signed_in:
                    self._sign_in(asked, url, answer, scope_from)
                    signed_in = True  # once for each call: a token ends after some minutes
                    continue
                raise _refusal(asked, answer)
            except (RegistryBusy, RegistryUnreachable) as error:
                if not repeat or (isinstance(error, RegistryUnreachable) and method not in READS):
                    raise  # it may have been done
                wait = max(pause, error.retry_after)
                if self._clock() + wait > end:
                    raise
            self._sleep(wait)
            pause = min(pause * 2, LONGEST_PAUSE)

    def _follow(
        self,
        asked: str,
        method: str,
        url: str,
        headers: Headers,
        body: t.Optional[Body],
        take: t.Optional[t.Callable[[bytes], None]],
    ) -> Answer:
        """Send, and follow a read to where the registry keeps its blobs; no password goes to another server."""
        for _hop in range(MOST_REDIRECTS):
            sent = dict(headers, **self._authorization(url)) if self._is_ours(url) else headers
            answer = self._send(asked, method, url, sent, body, take)
            location = answer.headers.get("Location")
            if method not in READS or answer.status not in (301, 302, 303, 307, 308) or not location:
                return answer
            following = urljoin(url, location)
            if url.startswith("https:") and not following.startswith("https:"):
                raise RegistryUntrusted(asked, "the registry leads from https to %s" % following)
            url = following
        raise RegistryError(asked, "the registry leads in circles (%d redirects)" % MOST_REDIRECTS)

    def _send(
        self,
        asked: str,
        method: str,
        url: str,
        headers: Headers,
        body: t.Optional[Body],
        take: t.Optional[t.Callable[[bytes], None]],
    ) -> Answer:
        parts = urlsplit(url)
        target = parts.path + ("?" + parts.query if parts.query else "")
        ours = self._is_ours(url)
        # A kept connection may have been closed by the other side since: that is found out by a read that begins anew.
        for fresh in (False, True):
            kept = self._http if ours and not fresh else None
            connection = kept or self._connect(parts.scheme, parts.hostname or "", parts.port)
            if ours:
                self._http = connection
            begun = False
            if body is not None and not isinstance(body, bytes):
                body.seek(0)
            try:
                connection.request(method, target, body=body, headers=headers)
                response = connection.getresponse()
                begun = True
                return _read(response, take)
            except ssl.SSLCertVerificationError as error:
                self.close()
                why = "the certificate of %s is not trusted (%s)" % (parts.netloc, error.verify_message)
                raise RegistryUntrusted(asked, why) from error
            except ssl.SSLError as error:
                self.close()
                raise RegistryUntrusted(asked, "no TLS with %s (%s)" % (parts.netloc, error)) from error
            except (http.client.HTTPException, OSError) as error:
                self.close()
                if kept is not None and not begun and method in READS:
                    continue
                why = str(error) or type(error).__name__
                if begun and take is not None:
                    # Its first bytes are with the caller: not a thing to send again.
                    raise RegistryError(asked, "the connection to %s broke (%s)" % (parts.netloc, why)) from error
                raise RegistryUnreachable(asked, "%s cannot be reached (%s)" % (parts.netloc, why)) from error
            finally:
                if not ours:
                    connection.close()
        raise AssertionError("unreachable")

    def _connect(self, scheme: str, host: str, port: t.Optional[int]) -> http.client.HTTPConnection:
        seconds = self.connection.timeout_seconds
        if scheme == "https":
            context = self._tls or ssl.create_default_context()
            return http.client.HTTPSConnection(host, port, timeout=seconds, context=context)
        return http.client.HTTPConnection(host, port, timeout=seconds)

    def _is_ours(self, url: str) -> bool:
        mine, other = urlsplit(self.connection.url), urlsplit(url)
        ports = {"http": 80, "https": 443}
        return (mine.scheme, mine.hostname, mine.port or ports[mine.scheme]) == (
            other.scheme,
            other.hostname,
            other.port or ports.get(other.scheme),
        )

    # -- Signing in ---------------------------------------------------------------------------------

    def _authorization(self, url: str) -> Headers:
        token = self._scope_tokens.get(_scope_key(url))
        if token:
            return {"Authorization": "Bearer " + token}
        if self._basic_asked:
            return self._basic()
        return {}

    def _basic(self) -> Headers:
        if self.connection.username is None:
            return {}
        pair = "%s:%s" % (self.connection.username, self.connection.password)
        return {"Authorization": "Basic " + base64.b64encode(pair.encode("utf-8")).decode("ascii")}

    def _sign_in(self, asked: str, url: str, answer: Answer, scope_from: t.Optional[str]) -> None:
        """Do what WWW-Authenticate asks: basic (RFC 7617), or a token of the realm (distribution's token spec)."""
        challenges = answer.headers.get_all("WWW-Authenticate") or []
        for challenge in challenges:
            scheme, _space, rest = challenge.partition(" ")
            if scheme.lower() == "bearer":
                self._scope_tokens[_scope_key(url)] = self._token(asked, _parameters(rest), scope_from)
                return
            if scheme.lower() == "basic" and self.connection.username is not None and not self._basic_asked:
                self._basic_asked = True
                return
        raise _refusal(asked, answer)

    def _token(self, asked: str, challenge: t.Mapping[str, str], scope_from: t.Optional[str]) -> str:
        realm = challenge.get("realm") or ""
        parts = urlsplit(realm)
        secure = parts.scheme == "https" or (parts.scheme == "http" and is_loopback(parts.hostname or ""))
        if not secure or not parts.hostname:
            raise RegistryUntrusted(
                asked,
                "the registry names the token service %s, which is not https" % (realm or "without an address"),
                remedy="Correct auth.token.realm in the registry's configuration.",
            )
        scopes = challenge.get("scope", "").split()
        if scope_from:
            scopes.append("repository:%s:pull" % scope_from)
        query = [("service", challenge["service"])] if challenge.get("service") else []
        query += [("scope", scope) for scope in scopes]
        url = realm + ("&" if "?" in realm else "?") + urlencode(query)
        answer = self._send(asked, "GET", url, self._basic(), None, None)
        if answer.status != 200:
            raise _refusal("%s (token of %s)" % (asked, parts.netloc), answer)
        data = _json(asked, answer.content)
        token = data.get("token") or data.get("access_token")
        if not token:
            raise RegistryError(asked, "the token service %s gave no token" % parts.netloc)
        return str(token)


def full_name(repository: str, reference: str) -> str:
    return "%s%s%s" % (repository, "@" if is_digest(reference) else ":", reference)


def _refusal(asked: str, answer: Answer) -> RegistryError:
    error = error_for(asked, answer.status, answer.content)
    error.retry_after = _retry_after(answer.headers.get("Retry-After"))
    return error


def _scope_key(url: str) -> str:
    """Tokens are good for one repository: ``/v2/edge/worker``; for the rest, one."""
    match = re.match(r"(/v2/.+?)/(manifests|blobs|tags)/", urlsplit(url).path)
    return match.group(1) if match else "/v2/"


def _parameters(text: str) -> t.Dict[str, str]:
    """The parameters of a challenge (RFC 9110, 11.2)."""
    found = re.findall(r'([a-zA-Z]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,]+))', text)
    return {name.lower(): quoted or plain for name, quoted, plain in found}


def _retry_after(value: t.Optional[str]) -> float:
    """Seconds of ``Retry-After`` (RFC 9110, 10.2.3), which is a number or a date."""
    if not value:
        return 0.0
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    except (TypeError, ValueError):
        return 0.0


def _read(response: http.client.HTTPResponse, take: t.Optional[t.Callable[[bytes], None]]) -> Answer:
    if take is None or response.status != 200:
        return Answer(response.status, response.headers, response.read())
    expected = response.length
    came = 0
    while True:
        part = response.read(CHUNK)
        if not part:
            break
        came += len(part)
        take(part)
    if expected is not None and came != expected:
        raise http.client.IncompleteRead(b"", expected - came)
    return Answer(response.status, response.headers, b"")


def _json(asked: str, content: bytes) -> t.Dict[str, t.Any]:
    try:
        data = json.loads(content.decode("utf-8"))
    except ValueError as error:
        raise RegistryError(asked, "the answer is not JSON (%s)" % error) from error
    if not isinstance(data, dict):
        raise RegistryError(asked, "the answer is not a JSON object")
    return data


def _repository(asked: str, repository: str) -> str:
    if not REPOSITORY.match(repository):
        raise RegistrySettingsError(
            asked,
            "%r is not the name of a repository" % repository,
            remedy="Write it as in edge/worker, in lowercase.",
        )
    return repository


def _manifest_path(asked: str, repository: str, reference: str) -> str:
    if not is_digest(reference) and not TAG.match(reference):
        raise RegistrySettingsError(
            asked, "%r is neither a tag nor a digest" % reference, remedy="Write a tag such as 0.1.0, or sha256:HEX."
        )
    return "/v2/%s/manifests/%s" % (_repository(asked, repository), quote(reference, safe=":"))


def _blob_path(asked: str, repository: str, digest: str) -> str:
    if not is_digest(digest):
        raise RegistrySettingsError(asked, "%r is not a digest" % digest, remedy="Digests are sha256:HEX.")
    return "/v2/%s/blobs/%s" % (_repository(asked, repository), digest)
