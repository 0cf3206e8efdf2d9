"""check.py PROGRAM [FOLDER]: what the live page shows of PROGRAM's balancer in a headless Chromium.

Waits for what has to come, and says how long it took. With FOLDER it leaves pictures there.
"""

import http.server
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))
from browser import PATIENCE, Browser  # noqa: E402

HOSTILE = "<img src=x onerror=alert(1)>"
FIRST_ROW = "(document.querySelector('#rows tr') || {}).textContent || ''"


class Program:
    """The balancer's process."""

    def __init__(self, file, backends, port=0):
        self.process = subprocess.Popen([file, str(backends), str(port)], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True)
        self.url = self.process.stdout.readline().strip()
        self.port = int(self.url.rstrip("/").rpartition(":")[2])

    def tell(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def json(self):
        with urllib.request.urlopen(self.url + "json") as answer:
            return json.load(answer)["balancers"][0]

    def memory(self):
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.split("VmRSS:")[1].split()[0])  # KiB

    def kill(self):
        self.process.kill()
        self.process.wait()


class Checks:
    def __init__(self, browser, pictures):
        self.browser, self.pictures, self.passed = browser, pictures, 0

    def that(self, sentence, expression):
        began = time.monotonic()
        value = self.browser.wait_for(expression)
        print(f"ok: {sentence} ({time.monotonic() - began:.1f} s)", flush=True)
        self.passed += 1
        return value

    def equal(self, sentence, found, expected):
        if found != expected:
            raise RuntimeError(f"{sentence}: {found!r} instead of {expected!r}")
        print(f"ok: {sentence}", flush=True)
        self.passed += 1

    def no_errors(self):
        self.equal("no error in the console", self.browser.errors, [])

    def picture(self, name, width=1280, height=800, dark=False):
        if not self.pictures:
            return
        self.browser.call("Emulation.setDeviceMetricsOverride", width=width, height=height,
                          deviceScaleFactor=1, mobile=False)
        self.browser.call("Emulation.setEmulatedMedia", features=[
            {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}])
        time.sleep(1.5)  # until rows that came into view are drawn
        self.browser.picture(f"{self.pictures}/{name}.png")
        self.browser.call("Emulation.clearDeviceMetricsOverride")


def has(element, *texts):
    return " && ".join(f"document.querySelector({element!r}).textContent.includes({text!r})"
                       for text in texts)


def first_row_has(*texts):
    return " && ".join(f"({FIRST_ROW}).includes({text!r})" for text in texts)


def incident(check, program, backends):
    """A backend dies and comes back."""
    browser = check.browser
    browser.open(program.url)
    check.that(f"{backends} backends have a row",
               f"document.querySelectorAll('#rows tr').length === {backends}")
    check.that("the page is live", has("#live", "live"))
    check.that("all is well", has("#verdict-title", "All is well", f"{backends} of {backends}"))
    check.that("the chart of requests has a line",
               "(document.querySelector('.chart path').getAttribute('d') || '').includes('L')")
    browser.evaluate("document.querySelector('#rows tr:last-child button')"
                     ".focus({preventScroll: true})")
    focused = browser.evaluate("document.activeElement.textContent")
    check.picture(f"well-{backends}")
    victim = f"server-{backends}"
    program.tell(f"kill {victim}")
    check.that("a killed backend is first, and bad",
               f"document.querySelector('#rows tr th').textContent === {victim!r} && "
               "document.querySelector('#rows tr').dataset.level === 'bad'")
    check.that("its row says since when, why, and what comes next", first_row_has(
        "ejected", "since ", "limit ", "trial request"))
    check.that("the headline names it", has("#verdict-title", victim))
    check.that("the log has it", has("#log", victim, "ejected"))
    check.equal("the focus stays", browser.evaluate("document.activeElement.textContent"), focused)
    check.picture(f"ill-{backends}")
    if backends == 3:
        check.picture("ill-phone", 390, 844)
        check.picture("ill-narrow", 320, 700)
    check.picture(f"ill-dark-{backends}", dark=True)
    told = {each["id"]: each["phase"] for each in program.json()["backends"]}
    check.equal("/json says the same", told[victim] in ("ejected", "probation"), True)
    browser.evaluate("document.querySelector('#rows button').click()")
    check.that("a chosen backend's history is shown", has("#detail", victim, "healthy -> ejected"))
    browser.evaluate("document.querySelector('#close').click()")
    program.tell(f"heal {victim}")
    check.that("a healed backend is well again", has("#verdict-title", "All is well"))
    check.no_errors()


def hostile(check):
    browser = check.browser
    check.equal("an id is text, whatever it says", browser.evaluate(
        f"[...document.querySelectorAll('#rows th')].some(e => e.textContent === {HOSTILE!r})"),
        True)
    check.equal("and makes no element", browser.evaluate(
        "document.querySelectorAll('img').length"), 0)
    check.equal("no script of others runs", browser.evaluate(
        "(() => { const s = document.createElement('script'); s.textContent = 'window.ran = 1';"
        "document.body.append(s); return window.ran || 0; })()"), 0)
    browser.errors.clear()  # the browser's own word about that script


def refuse(port):
    """A server that answers 503 twice: after the first a browser would not ask again by itself."""
    asked = []

    class Busy(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_error(503)

        def log_message(self, *_):
            pass

    with http.server.HTTPServer(("127.0.0.1", port), Busy) as server:
        server.timeout = PATIENCE
        for _ in range(2):
            server.handle_request()
    return asked


def faults(check, file, program):
    """The server hangs, ends and comes back."""
    os.kill(program.process.pid, signal.SIGSTOP)
    check.that("a server that hangs makes the page stale", has("#live", "stale since"))
    os.kill(program.process.pid, signal.SIGCONT)
    check.that("and live when it goes on", has("#live", "live"))
    program.kill()
    check.that("a server that is gone makes it stale", has("#live", "stale since"))
    check.equal("it asks again when it was refused with 503", refuse(program.port),
                ["/events", "/events"])
    again = Program(file, 3, program.port)
    check.that("a new server makes it live", has("#live", "live"))
    check.that("with the backends that it has",
               "document.querySelectorAll('#rows tr').length === 3")
    check.browser.errors.clear()  # that the server could not be reached
    return again


def main(file, pictures=None):
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        browser = Browser(folder)
        check = Checks(browser, pictures)
        program = None
        try:
            for backends in (3, 300):
                program = Program(file, backends)
                incident(check, program, backends)
                hostile(check)
                if backends == 300:
                    program = faults(check, file, program)
                browser.open("about:blank")  # before its server goes
                program.kill()
        except BaseException:
            print(browser.errors, browser.evaluate("document.body.innerText")[:2000],
                  file=sys.stderr)
            raise
        finally:
            browser.close()
            if program and program.process.poll() is None:
                program.kill()
    print(f"{check.passed} passed, 0 failed")


if __name__ == "__main__":
    main(*sys.argv[1:])
