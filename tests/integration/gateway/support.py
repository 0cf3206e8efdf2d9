"""A backend that does what the path says, the gateway as a child process, and a client of bytes."""

import json
import os
import signal
import socket
import struct
import subprocess
import tempfile
import threading
import time
from pathlib import Path

PATIENCE = 20.0  # s; only a machine that hangs makes a test wait so long


class Closed(Exception):
    """The other side closed before the message was whole."""


class Reader:
    """Reads messages of HTTP/1.1 from a socket."""

    def __init__(self, connection):
        self.connection, self.buffer = connection, b""

    def more(self):
        part = self.connection.recv(65536)
        if not part:
            raise Closed(f"closed after {self.buffer[:200]!r}")
        self.buffer += part

    def until(self, end):
        while end not in self.buffer:
            self.more()
        text, _, self.buffer = self.buffer.partition(end)
        return text

    def exactly(self, size):
        while len(self.buffer) < size:
            self.more()
        text, self.buffer = self.buffer[:size], self.buffer[size:]
        return text

    def to_end(self):
        try:
            while True:
                self.more()
        except (Closed, ConnectionError):
            text, self.buffer = self.buffer, b""
            return text

    def chunks(self):
        parts = []
        while True:
            size = int(self.until(b"\r\n").split(b";")[0], 16)
            if size == 0:
                while self.until(b"\r\n"):
                    pass
                return parts
            parts.append(self.exactly(size))
            assert self.exactly(2) == b"\r\n", "a chunk has another size than its line says"

    def head(self):
        first, *lines = self.until(b"\r\n\r\n").decode("latin-1").split("\r\n")
        return first, [(name, value.strip()) for name, _, value in
                       (line.partition(":") for line in lines)]


def field(fields, name):
    """All values of a field, with commas; None if there is none."""
    found = [value for key, value in fields if key.lower() == name.lower()]
    return ", ".join(found) if found else None


class Response:
    def __init__(self, reader, method="GET"):
        first, self.fields = reader.head()
        self.version, status, *_ = first.split(" ", 2)
        self.status, self.body, self.parts = int(status), b"", None
        length, coding = self["Content-Length"], self["Transfer-Encoding"]
        if method == "HEAD" or self.status < 200 or self.status in (204, 304):
            return
        if coding:
            assert coding == "chunked" and length is None, self.fields
            self.parts = reader.chunks()
            self.body = b"".join(self.parts)
        elif length is not None:
            self.body = reader.exactly(int(length))
        else:
            self.body = reader.to_end()

    def __getitem__(self, name):
        return field(self.fields, name)

    @property
    def json(self):
        return json.loads(self.body)


class Client:
    """One connection to the gateway."""

    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), PATIENCE)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.reader = Reader(self.socket)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, data):
        self.socket.sendall(data if isinstance(data, bytes) else data.encode("latin-1"))

    def response(self, method="GET"):
        return Response(self.reader, method)

    def ask(self, method, target, *fields, body=None, host="test"):
        lines = [f"{method} {target} HTTP/1.1", f"Host: {host}", *fields]
        if body is not None:
            lines.append(f"Content-Length: {len(body)}")
        self.send("\r\n".join(lines) + "\r\n\r\n")
        if body:
            self.send(body)
        return self.response(method)

    def closed(self):
        """True once the gateway has closed, whatever it sent before."""
        try:
            return self.socket.recv(1) == b""
        except ConnectionResetError:
            return True

    def reset(self):
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()


class Backend:
    """A server whose path says what it does. `requests` are (first line, fields, body)."""

    def __init__(self, name="a", port=0):
        self.name, self.requests, self.connections, self.open = name, [], 0, []
        self.paths = {}  # more of them: path -> function(backend, connection, reader, request)
        self.lock = threading.Lock()
        self.listener = socket.create_server(("127.0.0.1", port), backlog=256)
        self.port = self.listener.getsockname()[1]
        self.address = f"127.0.0.1:{self.port}"
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self.lock:
                self.connections += 1
                self.open.append(connection)
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def kill(self):
        """As a process that is killed: nothing listens, and every connection is reset."""
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.reserved = socket.socket()  # no other case may listen there meanwhile
        self.reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.reserved.bind(("127.0.0.1", self.port))
        with self.lock:
            for each in self.open:
                try:
                    each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    each.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass
                each.close()

    def serve(self, connection):
        reader = Reader(connection)
        try:
            while self.serve_one(connection, reader):
                pass
        except (Closed, OSError, ValueError):
            pass
        with self.lock:
            if connection in self.open:
                self.open.remove(connection)
        connection.close()

    def serve_one(self, connection, reader):
        first, fields = reader.head()
        path = first.split(" ")[1].split("?")[0]
        own = self.paths.get(path)
        if own:
            self.note(first, fields, None)
            return own(self, connection, reader, (first, fields))
        if field(fields, "Transfer-Encoding"):
            body = b"".join(reader.chunks())
        else:
            body = reader.exactly(int(field(fields, "Content-Length") or 0))
        self.note(first, fields, body)
        return self.act(connection, reader, path.strip("/").split("/"), first, fields, body)

    def note(self, first, fields, body):
        with self.lock:
            self.requests.append((first, fields, body))

    def act(self, connection, reader, words, first, fields, body):
        what, amount = words[0], int(words[1]) if len(words) > 1 and words[1].isdigit() else 0
        is_head = first.startswith("HEAD ")

        def say(text):
            connection.sendall(text if isinstance(text, bytes) else text.encode("latin-1"))

        def ok(data, *more, status="200 OK"):
            lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(data)}", f"X-Backend: {self.name}",
                     *more]
            # At once: killed in between, a backend would leave a response without its end.
            say(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + (b"" if is_head else data))
            return True

        if what == "length":
            return ok(pattern(amount))
        if what == "chunked":
            say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            data = pattern(amount)
            for at in range(0, 0 if is_head else amount, 1000):
                part = data[at:at + 1000]
                say(b"%x\r\n%s\r\n" % (len(part), part))
            if not is_head:
                say("0\r\n\r\n")
            return True
        if what == "trailers":
            say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n"
                "5;name=\"va;l\"\r\nhello\r\n0\r\nX-Sum: 7\r\n\r\n")
            return True
        if what == "until-close":
            say("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n")
            say(pattern(amount))
            return False
        if what == "old":
            say("HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\nold")
            return False
        if what == "status":
            if amount in (204, 304):
                say(f"HTTP/1.1 {amount} X\r\nETag: \"x\"\r\n\r\n")
                return True
            return ok(b"status", status=f"{amount} As-Asked")
        if what == "304-length":
            say("HTTP/1.1 304 Not Modified\r\nContent-Length: 500\r\n\r\n")
            return True
        if what == "hints":
            say("HTTP/1.1 103 Early Hints\r\nLink: </x.css>\r\n\r\n")
            return ok(b"after hints")
        if what == "continue":
            say("HTTP/1.1 100 Continue\r\n\r\n")
            return ok(b"after 100")
        if what == "interims":
            say("HTTP/1.1 102 Processing\r\n\r\n" * amount)
            return ok(b"at last")
        if what == "hop":
            return ok(b"hop", "Connection: X-Gone, keep-alive", "X-Gone: 1", "Keep-Alive: timeout=9",
                      "Proxy-Connection: x", "Upgrade: h2c", "X-Stays: 1")
        if what == "folded":
            return ok(b"f", "X-Folded: one\r\n  two")
        if what == "drop":  # the connection ends without an answer
            return False
        if what == "half":
            say("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n" + "x" * 50)
            return False
        if what == "half-chunk":
            say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n64\r\n" + "x" * 50)
            return False
        if what == "bad":
            say({"both": "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n"
                         "3\r\nabc\r\n0\r\n\r\n",
                 "lengths": "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
                 "coding": "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nabc",
                 "line": "HTTP/1.1 200 OK\nContent-Length: 3\n\nabc",
                 "garbage": "this is not HTTP\r\n\r\n",
                 "switch": "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade"
                           "\r\n\r\n",
                 "huge": "HTTP/1.1 200 OK\r\nX-Long: " + "x" * 100000 + "\r\n\r\n"}[words[1]])
            return False
        if what == "slow":  # milliseconds
            time.sleep(amount / 1000)
            return ok(self.name.encode())
        if what == "hang":
            time.sleep(PATIENCE * 3)
            return False
        if what == "last":  # says keep-alive, and closes
            ok(b"last")
            return False
        if what == "stream":
            say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            for i in range(amount):
                say("2\r\n%d\n\r\n" % (i % 10))
                time.sleep(0.05)
            say("0\r\n\r\n")
            return True
        if what == "ws":
            say("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                "Sec-WebSocket-Accept: x\r\n\r\n")
            while True:
                if not reader.buffer:
                    reader.more()
                data, reader.buffer = reader.buffer, b""
                say(data)
        told = json.dumps({"line": first, "fields": fields, "body": body.decode("latin-1"),
                           "backend": self.name})
        return ok(told.encode(), "Content-Type: application/json")


def pattern(size):
    text = b"".join(b"%07d\n" % i for i in range(size // 8 + 1))
    return text[:size]


class Gateway:
    """The program, with a file of its own in a temporary folder."""

    def __init__(self, program, backends, settings="", top=""):
        self.folder = tempfile.TemporaryDirectory(prefix="gateway-")
        self.file = Path(self.folder.name) / "gateway.toml"
        self.write(backends, settings, top)
        self.errors = open(Path(self.folder.name) / "errors", "w+b")
        self.process = subprocess.Popen(
            [program, str(self.file), "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"],
            stdout=subprocess.PIPE, stderr=self.errors, text=True)
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"the gateway did not start: {self.said()}")
        url, _, admin = line.split()
        self.port, self.admin = (int(u.rstrip("/").rpartition(":")[2]) for u in (url, admin))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.errors.close()
        self.folder.cleanup()

    def write(self, backends, settings="", top=""):
        text = top + "\n"
        for each in backends:
            text += f'[[backends]]\nid = "{each.name}"\naddress = "{each.address}"\n'
        scratch = self.file.with_suffix(".new")
        scratch.write_text(text + "\n" + settings)
        os.replace(scratch, self.file)

    def said(self):
        self.errors.flush()
        return Path(self.errors.name).read_text()

    def client(self):
        return Client(self.port)

    def ask(self, *words, **more):
        with self.client() as client:
            return client.ask(*words, **more)

    def page(self, path):
        with Client(self.admin) as client:
            return client.ask("GET", path, host="127.0.0.1")

    def counts(self):
        return self.page("/gateway").json

    def memory(self):
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.split("VmRSS:")[1].split()[0])  # KiB

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def terminate(self):
        self.process.send_signal(signal.SIGTERM)


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as free:
        return free.getsockname()[1]


def eventually(sentence, condition):
    """Waits until it holds."""
    end = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"this never came true: {sentence}")
        time.sleep(0.02)


class Load:
    """Threads that ask without a pause; everything but a whole 200 is a failure."""

    def __init__(self, gateway, threads=8, target="/echo", method="GET"):
        self.gateway, self.target, self.method = gateway, target, method
        self.answered, self.failures, self.stopping = 0, [], False
        self.lock = threading.Lock()
        self.threads = [threading.Thread(target=self.run, daemon=True) for _ in range(threads)]
        for each in self.threads:
            each.start()

    def run(self):
        client = None
        while not self.stopping:
            try:
                client = client or self.gateway.client()
                answer = client.ask(self.method, self.target)
                if answer.status != 200:
                    raise AssertionError(f"{answer.status} {answer.body!r}")
                if answer["Connection"] == "close":
                    client.socket.close()
                    client = None
                with self.lock:
                    self.answered += 1
            except (Closed, OSError, AssertionError) as error:
                client = None
                with self.lock:
                    self.failures.append(repr(error))
        if client:
            client.socket.close()

    def wait_for(self, more):
        goal = self.answered + more
        eventually(f"{more} more answers; failures: {self.failures[:3]}",
                   lambda: self.answered >= goal or self.failures)

    def stop(self):
        self.stopping = True
        for each in self.threads:
            each.join(PATIENCE)
