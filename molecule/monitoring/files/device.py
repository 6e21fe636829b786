"""Numbers of a device, with standard library alone: device.py TOKEN CERTIFICATE KEY.

Those of its Device Manager for who has its token, those of its Predictor for everybody.
"""

import http.server
import ssl
import sys
import threading
from pathlib import Path

TOKEN, CERTIFICATE, KEY = map(Path, sys.argv[1:])


class Predictor(http.server.BaseHTTPRequestHandler):
    numbers = b"edge_predictor_requests_total 3\n"

    def do_GET(self):
        good = self.path == "/metrics" and self.admitted()
        self.send_response(200 if good else 401)
        self.send_header("Content-Type", "text/plain; version=0.0.4")
        self.end_headers()
        self.wfile.write(self.numbers if good else b"")

    def admitted(self):
        return True


class Manager(Predictor):
    numbers = b"edge_manager_training 0\n"

    def admitted(self):
        return self.headers["Authorization"] == f"Bearer {TOKEN.read_text().strip()}"


predictor = http.server.ThreadingHTTPServer(("127.0.0.1", 8480), Predictor)
threading.Thread(target=predictor.serve_forever).start()
manager = http.server.ThreadingHTTPServer(("127.0.0.1", 8470), Manager)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(CERTIFICATE, KEY)
manager.socket = context.wrap_socket(manager.socket, server_side=True)
manager.serve_forever()
