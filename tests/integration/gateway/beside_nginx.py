"""The same bytes to the gateway and to nginx, before one backend: what comes back is the same."""

import shutil
import subprocess
import tempfile
from pathlib import Path

from support import Backend, Client, Gateway, PATIENCE, eventually, free_port, pattern

# Fields that are each server's own.
OWN = {"server", "date", "connection", "via"}
NGINX = shutil.which("nginx", path="/usr/sbin:/usr/bin:/sbin:/bin")


class Nginx:
    def __init__(self, backend):
        self.folder = tempfile.TemporaryDirectory(prefix="gateway-nginx-")
        self.port = free_port()
        where = Path(self.folder.name)
        (where / "nginx.conf").write_text(f"""
            daemon off; master_process off; pid {where}/pid; error_log {where}/errors;
            events {{}}
            http {{
              access_log off; client_body_temp_path {where}/body; proxy_temp_path {where}/proxy;
              fastcgi_temp_path {where}/f; uwsgi_temp_path {where}/u; scgi_temp_path {where}/s;
              server {{
                listen 127.0.0.1:{self.port};
                location / {{
                  proxy_pass http://{backend.address}; proxy_http_version 1.1;
                  proxy_set_header Connection ""; proxy_set_header Host $http_host;
                  proxy_request_buffering off; proxy_buffering off;
                }}
              }}
            }}""")
        self.process = subprocess.Popen([NGINX, "-p", where, "-c", where / "nginx.conf"],
                                        stderr=subprocess.DEVNULL)
        eventually("nginx listens", self.listens)

    def listens(self):
        try:
            Client(self.port).socket.close()
            return True
        except ConnectionRefusedError:
            return False

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(PATIENCE)
        self.folder.cleanup()


def text(target, *fields, method="GET", version="1.1", body=b""):
    lines = [f"{method} {target} HTTP/{version}", "Host: x", *fields]
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + body


def chunks(size, part):
    data = pattern(size)
    return b"".join(b"%x\r\n%s\r\n" % (len(data[i:i + part]), data[i:i + part])
                    for i in range(0, size, part)) + b"0\r\n\r\n"


def cases():
    """name, methods of the requests, bytes"""
    for size in (0, 1, 4095, 4096, 65536, 300000):
        yield f"a length of {size}", ["GET"], text(f"/length/{size}")
        yield f"chunks of {size}", ["GET"], text(f"/chunked/{size}")
        yield f"{size} bytes until the end", ["GET"], text(f"/until-close/{size}")
        yield f"a body of {size}", ["POST"], text("/length/3", f"Content-Length: {size}",
                                                 method="POST", body=pattern(size))
        yield f"a chunked body of {size}", ["POST"], text(
            "/length/3", "Transfer-Encoding: chunked", method="POST", body=chunks(size, 777))
    for target in ("/length/10", "/chunked/10", "/status/204", "/status/304", "/304-length",
                   "/status/404", "/status/500", "/old", "/continue", "/folded-not", "/trailers"):
        if target in ("/folded-not", "/trailers"):
            continue
        for method in ("GET", "HEAD"):
            if method == "HEAD" and target in ("/old", "/continue"):
                continue
            yield f"{method} {target}", [method], text(target, method=method)
    yield "HTTP/1.0", ["GET"], text("/length/10", version="1.0")
    yield "chunks for HTTP/1.0", ["GET"], text("/chunked/5000", version="1.0")
    yield "keep-alive of HTTP/1.0", ["GET"], text("/length/10", "Connection: keep-alive",
                                                 version="1.0")
    yield "close", ["GET"], text("/length/10", "Connection: close")
    yield "a pipeline", ["GET", "HEAD", "POST", "GET"], (
        text("/length/10") + text("/length/20", method="HEAD") +
        text("/length/3", "Content-Length: 3", method="POST", body=b"abc") + text("/chunked/30"))
    yield "a pipeline with a close", ["GET", "GET"], (
        text("/length/10") + text("/length/20", "Connection: close"))
    yield "continue", ["POST", "POST"], text("/length/3", "Expect: 100-continue",
                                             "Content-Length: 3", method="POST", body=b"abc")


def told(port, methods, request):
    """All that comes back, without what is each server's own."""
    answers = []
    with Client(port) as client:
        client.send(request)
        for method in methods:
            answer = client.response(method)
            if answer.status == 100:  # whether it comes after the body has is a matter of time
                answer = client.response(method)
            fields = sorted((name.lower(), value) for name, value in answer.fields
                            if name.lower() not in OWN)
            closes = (answer["Connection"] or "").lower() == "close"
            answers.append((answer.status, fields, answer.body, closes))
            if request.find(b"100-continue") >= 0:
                break
    return answers


def case_of(name, methods, request):
    def compare(gateway, nginx):
        ours, theirs = told(gateway.port, methods, request), told(nginx.port, methods, request)
        assert ours == theirs, f"{str(ours)[:600]}\nnginx: {str(theirs)[:600]}"
    compare.__name__ = name
    return compare


def all_is_as_nginx_has_it(program):
    assert NGINX, "nginx is not installed"
    backend = Backend("a")
    failed = []
    with Gateway(program, [backend]) as gateway, Nginx(backend) as nginx:
        for name, methods, request in cases():
            try:
                case_of(name, methods, request)(gateway, nginx)
                print(f"ok: as nginx: {name}", flush=True)
            except Exception as error:  # a case may fail in any way
                failed.append(name)
                print(f"FAILED: as nginx: {name}: {error!r}", flush=True)
    assert not failed, failed


CASES = [all_is_as_nginx_has_it]
