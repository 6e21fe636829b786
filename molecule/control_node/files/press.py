"""Sign in at the dashboard and press a button, with standard library alone: press.py ADDRESS CA."""

import http.cookiejar
import json
import ssl
import sys
import time
import urllib.error
import urllib.request

SECONDS = 180
URL, CONTEXT = f"https://{sys.argv[1]}:8443", ssl.create_default_context(cafile=sys.argv[2])


class Visitor:
    def __init__(self, name, password):
        cookies = urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar())
        self.opened = urllib.request.build_opener(cookies, urllib.request.HTTPSHandler(context=CONTEXT))
        self.csrf = ""
        self.status, answer = self.asked("/api/session", {"name": name, "password": password})
        self.csrf = answer.get("csrf", "")

    def asked(self, path, content=None):
        headers = {"Content-Type": "application/json", "X-CSRF-Token": self.csrf}
        request = urllib.request.Request(URL + path, json.dumps(content).encode() if content else None, headers)
        try:
            with self.opened.open(request, timeout=60) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)


vera, olga = Visitor("vera", "the-password-of-vera"), Visitor("olga", "the-password-of-olga")
print(Visitor("olga", "guessed").status, vera.status, olga.status)
print(vera.asked("/api/oidc")[1]["provider"])
print(vera.asked("/api/rack")[0], vera.asked("/api/jobs", {"action": "status"})[0])

status, job = olga.asked("/api/jobs", {"action": "status"})
print(status)
deadline = time.monotonic() + SECONDS
while job["state"] == "running":
    if time.monotonic() > deadline:
        sys.exit(f"the job did not end in {SECONDS} s")
    time.sleep(0.5)
    job = olga.asked(f"/api/jobs/{job['id']}")[1]
output = olga.asked(f"/api/jobs/{job['id']}/output")[1]["text"]
print(job["state"])
while not (devices := olga.asked("/api/rack")[1]["devices"]) and time.monotonic() < deadline:
    time.sleep(0.5)
print(*[one["device"] for one in devices])
print(output, file=sys.stderr)
