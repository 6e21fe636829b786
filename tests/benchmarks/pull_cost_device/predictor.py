#!/usr/bin/python3
"""Answers as the Predictor does. Called `ready` it says whether it answers; `activate` is never needed here."""

import json
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from urllib.request import urlopen

if sys.argv[0].endswith("ready"):
    sys.exit(urlopen("http://127.0.0.1:8480/samples", timeout=5).status != 200)


class Handler(BaseHTTPRequestHandler):
    def answer(self, content: object) -> None:
        body = json.dumps(content).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self) -> None:
        self.answer({"samples": [{"input": [digit], "truth": {"label": digit}} for digit in range(10)]})

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        predictions = [{"label": instance[0]} for instance in asked["instances"]]
        digest = json.loads(Path("/serving/model.json").read_text())["digest"]
        self.answer({"model_digest": digest, "predictions": predictions})

    def log_message(self, *_: object) -> None:
        pass


HTTPServer(("0.0.0.0", 8480), Handler).serve_forever()
