"""browse.py SITE: opens pages in a headless Chromium and wants no error in the console; then searches.

Chromium is driven through its DevTools pipe: messages are JSON, each ended by a zero byte.
"""

import functools
import http.server
import json
import os
import subprocess
import sys
import tempfile
import threading
import time

PAGES = ["index.html", "docs/index.html", "docs/health.html", "docs/design/layout.html",
         "reference/balancer.hpp.html"]
SEARCH = "circuit breaker"
PATIENCE = 30  # seconds for each step


class Browser:
    def __init__(self, folder):
        to_read, to_write = os.pipe()
        from_read, from_write = os.pipe()

        def connect():
            os.dup2(to_read, 3)
            os.dup2(from_write, 4)

        self.process = subprocess.Popen(
            ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe",
             f"--user-data-dir={folder}"],
            preexec_fn=connect, close_fds=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        os.close(to_read)
        os.close(from_write)
        self.out, self.answers = os.fdopen(to_write, "wb"), os.fdopen(from_read, "rb")
        self.next, self.session, self.errors, self.loaded = 1, None, [], False
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self.call(f"{domain}.enable")

    def read(self):
        text = b""
        while (byte := self.answers.read(1)) != b"\0":
            if not byte:
                raise RuntimeError("Chromium is gone")
            text += byte
        message = json.loads(text)
        event, params = message.get("method"), message.get("params", {})
        if event == "Page.loadEventFired":
            self.loaded = True
        elif event == "Runtime.exceptionThrown":
            details = params["exceptionDetails"]
            self.errors.append(details.get("exception", {}).get("description", details["text"]))
        elif event == "Runtime.consoleAPICalled" and params["type"] in ("error", "assert"):
            self.errors.append(" ".join(str(a.get("value", a)) for a in params["args"]))
        elif event == "Log.entryAdded" and params["entry"]["level"] == "error":
            self.errors.append(f"{params['entry']['text']} {params['entry'].get('url', '')}")
        return message

    def call(self, method, **params):
        number, self.next = self.next, self.next + 1
        message = {"id": number, "method": method, "params": params}
        if self.session:
            message["sessionId"] = self.session
        self.out.write(json.dumps(message).encode() + b"\0")
        self.out.flush()
        while (answer := self.read()).get("id") != number:
            pass
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']}")
        return answer["result"]

    def evaluate(self, expression):
        return self.call("Runtime.evaluate", expression=expression)["result"].get("value")

    def open(self, url):
        self.loaded = False
        self.call("Page.navigate", url=url)
        while not self.loaded:
            self.read()
        time.sleep(0.5)  # what scripts do after the page is there
        self.evaluate("0")

    def wait_for(self, expression):
        end = time.monotonic() + PATIENCE
        while not (value := self.evaluate(expression)):
            if time.monotonic() > end:
                raise RuntimeError(f"waited in vain for {expression}")
            time.sleep(0.2)
        return value


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


def main(site):
    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(Quiet, directory=site))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    base = f"http://127.0.0.1:{server.server_address[1]}"
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        browser = Browser(folder)
        try:
            bad = 0
            for page in PAGES:
                browser.errors.clear()
                browser.open(f"{base}/{page}")
                for error in browser.errors:
                    print(f"{page}: {error}", file=sys.stderr)
                bad += len(browser.errors)
                print(f"{page}: \"{browser.evaluate('document.title')}\", {len(browser.errors)} errors")
            box = "document.querySelector('.md-search__input')"
            browser.evaluate(f"{box}.focus(); {box}.value = '{SEARCH}'; "
                             f"{box}.dispatchEvent(new KeyboardEvent('keyup', {{bubbles: true}}))")
            found = browser.wait_for(
                "[...document.querySelectorAll('.md-search-result__link')].map(a => a.href).join(' ')")
            print(f"a search for \"{SEARCH}\" finds {len(found.split())} places")
        finally:
            browser.process.terminate()
            browser.process.wait()
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
