"""What a device sends after a pull, with its own account; and what it may not: report.py NAME."""

import base64
import json
import ssl
import sys
import urllib.error
import urllib.request
from pathlib import Path

DEVICE = sys.argv[1]
SERVER = "https://control.example.com:8444"
PASSWORD = Path("/etc/edge/pull/ara_password").read_text().strip()
CONTEXT = ssl.create_default_context(cafile="/tmp/ca.crt")


def ask(method, path, content=None, account=f"{DEVICE}:{PASSWORD}"):
    headers = {"Content-Type": "application/json"}
    if account:
        headers["Authorization"] = "Basic " + base64.b64encode(account.encode()).decode()
    body = None if content is None else json.dumps(content).encode()
    request = urllib.request.Request(SERVER + path, body, headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=30, context=CONTEXT) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, {}


statuses = []


def add(kind, **content):
    status, answer = ask("POST", f"/api/v1/{kind}", content)
    statuses.append(status)
    return answer["id"]


labels = ["pull", "release:2026.11", f"run:{DEVICE}-1"]
head = {"ansible_version": "2.19.14", "path": "/var/lib/edge/site/converge.yml", "started": "2026-11-29T01:00:00Z"}
run = add("playbooks", name=f"{DEVICE} 2026.11", controller=DEVICE, status="running", labels=labels, **head)
play = add("plays", playbook=run, name="Converge", uuid="34cff6f4-9f8e-6137-3461-000000000005", status="completed")
file = add("files", playbook=run, path=head["path"], content="- hosts: all")
host = add("hosts", playbook=run, name=DEVICE, ok=3, changed=1)
task = add("tasks", playbook=run, play=play, file=file, name="File is there", action="copy", lineno=1, handler=False)
add("results", playbook=run, play=play, task=task, host=host, status="ok", changed=True, content={"dest": "/etc/x"})
end = {"status": "completed", "ended": "2026-11-29T01:00:10Z", "labels": [*labels, "outcome:changed"]}
statuses.append(ask("PATCH", f"/api/v1/playbooks/{run}", end)[0])
print(*statuses)

found = ask("GET", f"/api/v1/playbooks?label=run:{DEVICE}-1")[1]["results"][0]
print(found["status"], *(found["items"][kind] for kind in ("plays", "tasks", "results", "hosts")))

print(
    ask("POST", "/api/v1/playbooks", {**head, "controller": "nuc-999"})[0],
    ask("GET", "/api/v1/hosts")[0],
    ask("DELETE", f"/api/v1/playbooks/{run}")[0],
    ask("GET", "/admin/")[0],
    ask("GET", "/api/v1/playbooks", account=f"{DEVICE}:guessed")[0],
    ask("GET", "/api/v1/playbooks", account="")[0],
)
