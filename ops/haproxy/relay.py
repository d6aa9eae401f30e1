"""A second address of a node, which can fail the way a node fails.

It hands each request to the real node, so whatever it lets through is counted there, and what a client was told can be
compared with what was counted.
"""

import http.client
import http.server
import json
import socket
import struct
import threading

OPEN = {"status": "ready", "ingest": "open"}


class Relay:
    """Modes:

    pass      hands requests on, and answers
    drop      hands requests on, and closes the connection without an answer: the worst moment to die
    in_doubt  hands requests on, and answers 503
    stall     hands requests on, and never answers
    refuse    answers 503 and hands nothing on
    full      says in its health that the disk is full, and else passes
    """

    def __init__(self, node_http):
        self.node_http = node_http
        self.mode = "pass"
        self.seen = 0
        self.is_dead = threading.Event()
        self.lock = threading.Lock()
        self.sockets = set()
        relay = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_any(self):
                relay.answer(self)

            do_GET = do_POST = do_HEAD = do_OPTIONS = handle_any

            def log_message(self, *_):
                pass

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 256

            def process_request(self, request, address):
                with relay.lock:
                    relay.sockets.add(request)
                super().process_request(request, address)

            def shutdown_request(self, request):
                with relay.lock:
                    relay.sockets.discard(request)
                super().shutdown_request(request)

            def handle_error(self, *_):
                pass

        self.server = Server(("127.0.0.1", 0), Handler)
        self.http = "127.0.0.1:%d" % self.server.server_address[1]
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True)
        self.thread.start()

    def answer(self, handler):
        body = handler.rfile.read(int(handler.headers.get("Content-Length") or 0))
        mode = self.mode
        if handler.path == "/health/ready":
            document = dict(OPEN, ingest="full") if mode == "full" else OPEN
            return self.reply(handler, 200, json.dumps(document, separators=(",", ":")).encode())
        with self.lock:
            self.seen += 1
        if mode == "refuse":
            return self.reply(handler, 503, b'{"kind":"unavailable"}')
        connection = http.client.HTTPConnection(self.node_http, timeout=10)
        headers = {name: value for name, value in handler.headers.items() if name.lower() != "connection"}
        connection.request(handler.command, handler.path, body, headers)
        response = connection.getresponse()
        answer = response.read()
        connection.close()
        if self.is_dead.is_set() or mode == "drop":
            handler.close_connection = True
            return reset(handler.connection)
        if mode == "in_doubt":
            return self.reply(handler, 503, b'{"kind":"in_doubt"}')
        if mode == "stall":
            handler.close_connection = True
            self.is_dead.wait(30)
            return None
        return self.reply(handler, response.status, answer)

    def reply(self, handler, status, body):
        handler.send_response(status)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    def kill(self):
        """What the system does to a killed process: the port is closed, every connection is reset."""
        self.is_dead.set()
        self.server.socket.close()
        with self.lock:
            sockets = list(self.sockets)
        for connection in sockets:
            reset(connection)
        self.server.shutdown()


def reset(connection):
    try:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.shutdown(socket.SHUT_RDWR)
        connection.close()
    except OSError:
        pass  # The other side was faster.
