"""An HTTP server for the tests of fetch: it knows ranges and can cut the connection."""

from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Server(ThreadingHTTPServer):
    """Serves `content` under any path; closes after `cut` bytes of a reply, `cuts` times.

    Under /hub/ it sends its client on and tells the hash `linked`, as the Hugging Face hub does.
    """

    daemon_threads = True
    content = b""
    cut = 0
    cuts = 0
    ranges = True
    linked = ""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[str | None] = []
        self.url = f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def do_GET(self):
        server, asked = self.server, self.headers.get("Range")
        if self.path.startswith("/missing/"):
            self.send_error(404)
            return
        if self.path.startswith("/hub/"):
            self.send_response(302)
            self.send_header("Location", self.path.removeprefix("/hub"))
            self.send_header("X-Linked-ETag", f'"{server.linked}"')
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        server.asked.append(asked)
        start = int(asked.split("=")[1].rstrip("-")) if asked and server.ranges else 0
        if start > len(server.content):
            self.send_response(416)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        body = server.content[start:]
        self.send_response(206 if asked and server.ranges else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if server.cuts:
            server.cuts -= 1
            body = body[: server.cut]
            self.close_connection = True
        self.wfile.write(body)

    def log_message(self, *_):
        pass
