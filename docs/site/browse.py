"""browse.py SITE: opens pages in a headless Chromium and wants no error in the console; then searches."""

import functools
import http.server
import sys
import tempfile
import threading
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "tests/support"))
from browser import Browser  # noqa: E402

PAGES = ["index.html", "docs/index.html", "docs/health.html", "docs/design/layout.html",
         "reference/balancer.hpp.html"]
SEARCH = "circuit breaker"


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
            browser.close()
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
