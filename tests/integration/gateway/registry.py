"""The gateway's own entry in etcd: there once it serves, gone before it stops."""

import base64
import json
import shutil
import subprocess
import tempfile
import time
import urllib.request
from pathlib import Path

from support import Backend, Gateway, eventually, free_port

ETCD = shutil.which("etcd")


class Etcd:
    def __init__(self):
        self.port, peer = free_port(), free_port()
        self.folder = tempfile.TemporaryDirectory(prefix="gateway-etcd-")
        own, other = f"http://127.0.0.1:{self.port}", f"http://127.0.0.1:{peer}"
        self.process = subprocess.Popen(
            [ETCD, "--data-dir", self.folder.name, "--listen-client-urls", own,
             "--advertise-client-urls", own, "--listen-peer-urls", other,
             "--initial-advertise-peer-urls", other, "--initial-cluster", f"default={other}"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        eventually("etcd answers", self.answers)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.folder.cleanup()

    def answers(self):
        try:
            self.entries()
            return True
        except OSError:
            return False

    def entries(self, prefix="web/"):
        end = prefix[:-1] + chr(ord(prefix[-1]) + 1)
        text = [base64.b64encode(each.encode()).decode() for each in (prefix, end)]
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}/v3/kv/range",
            json.dumps({"key": text[0], "range_end": text[1]}).encode())
        with urllib.request.urlopen(request, timeout=2) as answer:
            found = json.load(answer).get("kvs", [])
        return [base64.b64decode(each["value"]).decode() for each in found]


def the_gateway_has_an_entry_while_it_serves(program):
    backend = Backend("a")
    with Etcd() as etcd:
        settings = (f'[gateway]\nregistry = "etcd:http://127.0.0.1:{etcd.port}/web/"\n'
                    'advertise = "web.example:8080"\nleave_delay = "500ms"\n')
        with Gateway(program, [backend], settings) as gateway:
            eventually("it is registered", lambda: len(etcd.entries()) == 1)
            assert "web.example:8080" in etcd.entries()[0], etcd.entries()
            gateway.terminate()
            eventually("it left", lambda: not etcd.entries())
            # Clients that did not notice yet are still served.
            assert gateway.ask("GET", "/echo").status == 200
            assert gateway.process.wait(10) == 0
            assert "left the registry" in gateway.said()


def a_registry_that_is_down_does_not_stop_it(program):
    backend = Backend("a")
    settings = f'[gateway]\nregistry = "etcd:http://127.0.0.1:{free_port()}/web/"\n'
    with Gateway(program, [backend], settings) as gateway:
        assert gateway.ask("GET", "/echo").status == 200
        eventually("it says so", lambda: "etcd" in gateway.said())
        began = time.monotonic()
        gateway.terminate()
        assert gateway.process.wait(10) == 0
        assert time.monotonic() - began < 6


def an_address_that_nobody_can_connect_to_is_not_registered(program):
    file = Path(tempfile.mkdtemp(prefix="gateway-")) / "gateway.toml"
    file.write_text('[[backends]]\naddress = "127.0.0.1:1"\n[gateway]\nlisten = "0.0.0.0:8080"\n'
                    'registry = "etcd:http://127.0.0.1:1/web/"\n')
    run = subprocess.run([program, str(file), "--listen", "0.0.0.0:0"], capture_output=True,
                         text=True, timeout=10)
    assert run.returncode == 1 and "gateway.advertise" in run.stderr, run


CASES = [the_gateway_has_an_entry_while_it_serves, a_registry_that_is_down_does_not_stop_it,
         an_address_that_nobody_can_connect_to_is_not_registered]
