"""check.py PROGRAM [WORD]: examples/gateway before backends of its own, and beside nginx.

Prints a line for each case; WORD runs those whose name contains it. Status 1 if any fails.
"""

import concurrent.futures
import sys
import time
import traceback

import beside_nginx
import changes
import correct
import hostile
import registry
from support import Backend, Gateway

# For the cases of correct.py, which share a gateway: short times, so that each is over soon.
SETTINGS = """
[gateway]
header_timeout = "1500ms"
body_timeout = "2s"
idle_timeout = "4s"
response_timeout = "2s"
max_body = 1000000
access_log = "{log}"
"""


def check_refusal(gateway, backend, status, request):
    before = len(backend.requests)
    with gateway.client() as client:
        client.send(request)
        answer = client.response()
        assert answer.status == status, f"{answer.status} {answer.body!r} instead of {status}"
        assert answer["Connection"] == "close" and client.closed()
    whole = [body for _, _, body in backend.requests[before:]]
    assert not whole, f"the backend got {whole}"


class Checks:
    def __init__(self, word):
        self.word, self.passed, self.failed = word, 0, []

    def run(self, name, function, *arguments):
        if self.word not in name:
            return
        began = time.monotonic()
        try:
            function(*arguments)
            self.passed += 1
            print(f"ok: {name} ({time.monotonic() - began:.1f} s)", flush=True)
        except Exception:  # a case may fail in any way
            self.failed.append(name)
            print(f"FAILED: {name}\n{traceback.format_exc()}", flush=True)

    def run_all(self, cases, workers, *arguments):
        """Most of a case is waiting: several at a time."""
        with concurrent.futures.ThreadPoolExecutor(workers) as pool:
            for name, function, more in cases:
                pool.submit(self.run, name, function, *arguments, *more)


def main(program, word=""):
    checks = Checks(word)
    backend = Backend("a")
    log = f"/tmp/gateway-log-{backend.port}"
    with Gateway(program, [backend], SETTINGS.format(log=log), 'name = "the gateway"') as gateway:
        gateway.access_log = beside_nginx.Path(log)
        checks.run_all([(f"refused: {name}", check_refusal, (status, request))
                        for name, status, request in hostile.REFUSED], 1, gateway, backend)
        checks.run_all([(each.__name__, each, ()) for each in correct.CASES], 1, gateway, backend)
        gateway.access_log.unlink()
    checks.run_all([(each.__name__, each, ()) for each in changes.CASES], 3, program)
    checks.run_all([(each.__name__, each, ()) for each in beside_nginx.CASES], 1, program)
    checks.run_all([(each.__name__, each, ()) for each in registry.CASES], 2, program)
    print(f"{checks.passed} passed, {len(checks.failed)} failed", flush=True)
    for each in checks.failed:
        print(f"FAILED: {each}")
    sys.exit(1 if checks.failed or not checks.passed else 0)


if __name__ == "__main__":
    main(*sys.argv[1:])
