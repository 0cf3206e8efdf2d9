"""check.py PROGRAM [--pictures FOLDER] [--axe FILE]: what the live page shows of PROGRAM's balancer.

Drives a headless Chromium; waits for what has to come, and says how long it took. FOLDER gets pictures.
FILE is axe.min.js of npm's axe-core, which then judges accessibility, light and dark.
"""

import argparse
import http.server
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))
from browser import PATIENCE, Browser  # noqa: E402
from told import (DECLARED_DEGRADED, DECLARED_UNHEALTHY, DRAINED, EJECTED,  # noqa: E402
                  SLOW_START, SUSPECT, Told)

HOSTILE = "<img src=x onerror=alert(1)>"
FIRST_ROW = "(document.querySelector('#rows tr') || {}).textContent || ''"


class Program:
    """The balancer's process."""

    def __init__(self, file, backends, port=0, second=HOSTILE):
        self.process = subprocess.Popen([file, str(backends), str(port), second],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.url = self.process.stdout.readline().strip()
        self.port = int(self.url.rstrip("/").rpartition(":")[2])

    def tell(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def text(self, path):
        with urllib.request.urlopen(self.url + path) as answer:
            return answer.read().decode()

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

    def resize(self, width, height):
        self.browser.call("Emulation.setDeviceMetricsOverride", width=width, height=height,
                          deviceScaleFactor=1, mobile=False)

    def use_scheme(self, scheme):
        self.browser.call("Emulation.setEmulatedMedia", features=[
            {"name": "prefers-color-scheme", "value": scheme}])

    def picture(self, name, width=1280, height=800, dark=False):
        if not self.pictures:
            return
        self.resize(width, height)
        self.use_scheme("dark" if dark else "light")
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
    browser.evaluate(LISTEN)
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
    if backends == 3:
        spoken(check, victim, backends)
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


class Heard:
    """What a screen reader finds: the accessibility tree, as (role, name, text below) in its order."""

    def __init__(self, browser):
        self.nodes = {each["nodeId"]: each
                      for each in browser.call("Accessibility.getFullAXTree")["nodes"]}
        root = next(iter(self.nodes.values()))
        self.all = [(self.role(each), self.name(each), self.text(each)) for each in self.below(root)]

    def below(self, node):
        if not node["ignored"]:
            yield node
        for each in node.get("childIds", []):
            if each in self.nodes:
                yield from self.below(self.nodes[each])

    def text(self, node):
        return " ".join(self.name(each) for each in self.below(node)
                        if self.role(each) == "StaticText")

    @staticmethod
    def role(node):
        return node["role"]["value"]

    @staticmethod
    def name(node):
        return node.get("name", {}).get("value", "")

    def of(self, *roles):
        return [each for each in self.all if each[0] in roles]


def spoken(check, victim, backends):
    """Without eyes: how many backends there are, which is ill, why, and what each control does."""
    heard = Heard(check.browser)
    headline = f"{victim} is ejected; {backends - 1} of {backends} are healthy"
    check.equal("a heading says which backend is ill, and of how many", any(
        name.endswith(headline) for _, name, _ in heard.of("heading")), True)
    check.equal("the table has a row for each backend, and one of heads",
                len(heard.of("row")), backends + 1)
    first = next(i for i, each in enumerate(heard.all) if each[0] == "rowheader")
    check.equal("its first row is the ill one", heard.all[first][1], victim)
    why = next(name for role, name, _ in heard.all[first:] if role in ("cell", "gridcell"))
    check.equal(f"and says since when and why: {why}",
                all(part in why for part in ("ejected since ", "limit ", "trial request")), True)
    controls = heard.of("button", "link", "textbox")
    check.equal("each control has a name", [each for each in controls if not each[1].strip()], [])
    check.equal("no chart is read", heard.of("graphics-document", "SvgRoot", "image", "img"), [])
    check.equal("each figure has its term", len(heard.of("term")), len(heard.of("definition")))


LISTEN = """(() => {
  window.heard = [];
  const regions = document.querySelectorAll('[aria-live], [role=status], [role=alert], [role=log]');
  for (const region of regions)
    new MutationObserver(() => window.heard.push(region.textContent)).observe(region,
      {subtree: true, childList: true, characterData: true});
})()"""


def quiet(check):
    """While numbers change, live regions say little: a sentence in five seconds at most."""
    before = check.browser.evaluate("document.querySelector('#notices').textContent")
    tick = check.browser.evaluate("window.heard = [], page.stream.number")
    check.that("six ticks come, and the alert's number changes",
               f"page.stream.number >= {tick} + 6 && "
               f"document.querySelector('#notices').textContent !== {before!r}")
    heard, ticks = check.browser.evaluate(f"[window.heard, page.stream.number - {tick}]")
    check.equal(f"live regions changed at most once in five of {ticks} seconds: {heard}",
                len(heard) <= 1 + ticks // 5, True)


def completed(told):
    return sum(count for result, count in told["requests"].items() if result != "in_flight")


def numbers(check, program):
    """The page and /json agree, at rest and under load."""
    shown = ("(() => { const by = name => [...document.querySelectorAll('#figures div')].find("
             "e => e.querySelector('dt').textContent === name).querySelector('dd').textContent;"
             "return [by('healthy'), by('requests/s')]; })()")
    end = time.monotonic() + PATIENCE
    while True:  # a tick may lie between the two readings
        before = program.json()
        time.sleep(2)
        healthy, rate = check.browser.evaluate(shown)
        after = program.json()
        rate_told = (completed(after) - completed(before)) / 2
        if healthy == f"{after['set']['healthy']} of {len(after['backends'])}" and \
                abs(float(rate.replace(",", "")) - rate_told) <= 0.15 * rate_told:
            break
        if time.monotonic() > end:
            raise RuntimeError(f"the page shows {healthy}, {rate}/s; /json {after['set']}, {rate_told}/s")
    print("ok: the numbers are those of /json", flush=True)
    check.passed += 1
    check.that("each backend's state and weight is that of /json", f"""(() => {{
        const told = {json.dumps({each["id"]: [each["phase"], each["weight"]]
                               for each in after["backends"]})};
        const rows = [...document.querySelectorAll('#rows tr')];
        return rows.length === Object.keys(told).length && rows.every(row => {{
          const [phase, weight] = told[row.querySelector('th').textContent];
          return row.querySelector('.state').textContent.endsWith(phase) &&
            row.lastChild.textContent === String(weight);
        }});
    }})()""")


def details(check, program, victim):
    """The details of a backend stay open, with what is typed there, while the table moves."""
    browser = check.browser
    browser.evaluate("[...document.querySelectorAll('#rows button')]"
                     f".find(e => e.textContent === {victim!r}).click()")
    check.that("the details say why", has("#why", victim))
    browser.evaluate("document.querySelector('#key').focus()")
    browser.call("Input.insertText", text="user-1")
    before = browser.evaluate("document.querySelector('#log').childElementCount")
    program.tell(f"kill {victim}")
    check.that("the details follow", has("#why", victim, "ejected"))
    check.that("the history too", has("#detail-log", "ejected"))
    check.equal("events came meanwhile", browser.evaluate(
        "document.querySelector('#log').childElementCount") > before, True)
    check.equal("the details, what was typed and the focus survive updates", browser.evaluate(
        "[document.querySelector('#detail-title').textContent, document.querySelector('#key').value,"
        "document.activeElement.id]"), [victim, "user-1", "key"])
    browser.press("Enter")
    check.that("a key is explained as /explain does it", "document.querySelector('#explanation')"
               f".textContent.includes({program.text('explain?key=user-1').split()[0]!r})")
    browser.press("Escape")
    check.that("Esc closes them", "document.querySelector('#detail').hidden")
    check.equal("and gives the focus back", browser.evaluate("document.activeElement.textContent"),
                victim)
    program.tell(f"heal {victim}")
    check.that("it is well again", has("#verdict-title", "All is well"))
    check.no_errors()


def alerts(check, program):
    """Two backends of three die: the default rules say so."""
    for each in ("server-1", "server-3"):
        program.tell(f"kill {each}")
    check.that("an alert is shown", has("#notices", "alert since", "errors:"))
    check.that("and was spoken", "window.heard.some(each => each.includes('errors:'))")
    quiet(check)
    for each in ("server-1", "server-3"):
        program.tell(f"heal {each}")
    check.that("all is well after it", has("#verdict-title", "All is well"))


def keyboard(check):
    """All that a mouse can do: Tab reaches each control, in the order in which they stand."""
    browser = check.browser
    browser.evaluate("document.activeElement.blur(); window.scrollTo(0, 0)")
    reached = []
    for _ in range(40):
        browser.press("Tab")
        reached.append(browser.evaluate(
            "(e => e.id || e.textContent.trim())(document.activeElement)"))
        if reached[-1] == "server-3":
            break
    stops = ("pause", "log", "Backend", "Weight", "server-1", "server-3")
    check.equal("Tab goes from the top to the table's heads and its rows",
                [each for each in reached if each in stops], list(stops))
    browser.press("Enter")
    check.that("Enter opens details", "!document.querySelector('#detail').hidden")
    check.equal("the focus is in them", browser.evaluate("document.activeElement.id"), "close")
    outline = browser.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    check.equal("the focus is seen", outline, "solid")
    browser.press("Escape")
    check.that("Escape closes them", "document.querySelector('#detail').hidden")


def narrow(check):
    """Nothing is wider than a small phone."""
    for width in (320, 390):
        check.resize(width, 700)
        check.that(f"{width} pixels are enough", "document.documentElement.scrollWidth <= "
                   "document.documentElement.clientWidth")
    check.browser.call("Emulation.clearDeviceMetricsOverride")


def accessible(check, axe):
    """No rule of axe-core is broken."""
    browser = check.browser
    browser.evaluate("document.querySelector('#rows button').click()")
    browser.evaluate(Path(axe).read_text() + "; 0")
    for scheme in ("light", "dark"):
        check.use_scheme(scheme)
        time.sleep(0.5)
        found = browser.evaluate(
            "axe.run().then(r => r.violations.map(v => `${v.id}: ${v.nodes.map(n => n.target)}`))")
        check.equal(f"axe finds nothing, {scheme}", found, [])
    browser.press("Escape")


def crowd(check, program):
    """Twenty viewers, and one that never reads."""
    browser = check.browser
    viewers = [urllib.request.urlopen(program.url + "events") for _ in range(20)]
    for each in viewers:
        check_line = each.readline()
        if not check_line.startswith(b"id: "):
            raise RuntimeError(f"a viewer got {check_line!r}")
    with socket.create_connection(("127.0.0.1", program.port)) as silent:
        silent.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        silent.sendall(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
        time.sleep(2)
        before = program.memory()
        time.sleep(10)
        grown = program.memory() - before
    check.equal(f"a viewer that never reads costs nothing more ({grown} KiB)", grown < 2000, True)
    for each in viewers:
        while not each.readline().startswith(b"event: tick"):
            pass
        each.close()
    print("ok: all 20 viewers follow", flush=True)
    check.passed += 1
    check.that("the page is still live", has("#live", "live"))
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


def log_is(check, sentence, where, log):
    """Exactly these events are listed, the newest first."""
    expected = [f" \u25b2 {backend}: {what}" for backend, what in reversed(log)]
    check.that(sentence, f"""JSON.stringify([...document.querySelectorAll('{where} li')]
        .map(e => e.lastChild.textContent)) === JSON.stringify({json.dumps(expected)})""")


def open_row(check, backend):
    check.browser.evaluate("[...document.querySelectorAll('#rows button')]"
                           f".find(e => e.textContent === {backend!r}).click()")


def restarts(check, told):
    """Of a process that ended nothing stays, neither its events nor details of another backend."""
    def events(of, count):
        return [("b", f"{of} {i}") for i in range(count)]

    told.restart(["a", "b", "c"], log=events("old", 30))
    check.browser.open(told.url)
    log_is(check, "30 events are listed", "#log", events("old", 30))
    open_row(check, "b")
    log_is(check, "and those of one backend", "#detail-log", events("old", 20 + 10)[-20:])
    told.restart(["z", "a", "b"], log=events("new", 5))
    log_is(check, "after a restart only the new events, if they are fewer", "#log",
           events("new", 5))
    log_is(check, "those of one backend too", "#detail-log", events("new", 5))
    check.that("the details are still the same backend's", has("#detail-title", "b"))
    told.restart(["z", "a", "b"], log=events("newer", 40))
    log_is(check, "only the new events, if they are more", "#log", events("newer", 40))
    told.restart(["x", "y", "z"])
    log_is(check, "none if there are none", "#log", [])
    check.that("details of a backend that is gone are closed",
               "document.querySelector('#detail').hidden")


def headlines(check, told):
    """What the headline says is true of all backends, whether or not they have a row."""
    ids = [f"s{i}" for i in range(100)]
    told.restart(ids, {"s3": EJECTED}, healthy=955, unhealthy=45, unlisted=900,
                 unlisted_unhealthy=44)
    check.browser.open(told.url)
    check.that("backends without a row count", has(
        "#verdict-title", "45 of 1000 backends are not well, 45 of them out, 44 without a row"))
    check.that("it is said below, too", has("#troubles", "and 44 without a row: 44 unhealthy"))
    check.that("and what to do", has("#unlisted", "ReaderOptions::cap", "metrics.series"))
    told.say(ids, healthy=940, unhealthy=57, degraded=3, unlisted=900, unlisted_unhealthy=57,
             unlisted_degraded=3)
    check.that("also if none has a row", has(
        "#verdict-title", "60 of 1000 backends are not well, 57 of them out, 60 without a row"))
    drained = {each: DRAINED for each in "abc"}
    told.say("abc", drained, rate=0)
    check.that("all are drained", has("#verdict-title", "All 3 backends are drained: there is"))
    told.say("abc", drained, rate=0, refusals={"drained": 50})
    check.that("and requests fail", has(
        "#verdict-title", "All 3 backends are drained, and requests fail"))


def healthy_tile(text):
    return ("[...document.querySelectorAll('#figures div')].find(e => e.firstChild.textContent === "
            f"'healthy').lastChild.textContent === {text!r}")


def tiles(check, told):
    """The headline and the tile count the same backends as healthy."""
    told.restart("abc", {"b": SUSPECT})
    check.browser.open(told.url)
    check.that("one that is suspect is not healthy", has(
        "#verdict-title", "b is suspect; 2 of 3 are healthy") + " && " + healthy_tile("2 of 3"))
    told.say("abc", {"a": SUSPECT, "b": SUSPECT, "c": EJECTED})
    check.that("nor are all three", has("#verdict-title", "3 of 3 backends are not well") +
               " && " + healthy_tile("0 of 3"))


def operators(check, told):
    """What the operator ordered is told as his, and since when."""
    told.restart("abc", {"a": DECLARED_DEGRADED, "b": DECLARED_UNHEALTHY, "c": DRAINED})
    check.browser.open(told.url)
    for state in ("declared degraded", "declared unhealthy", "drained"):
        check.that(f"{state} since when", has("#rows", f"{state} by the operator since "))
    told.restart("ab", {"a": DECLARED_UNHEALTHY, "b": DECLARED_UNHEALTHY}, rate=0, panic=True,
                 refusals={"unhealthy": 5})
    check.that("a panic that opens nothing is none", has(
        "#verdict-title", "2 of 2 backends are not well, 2 of them out"))
    told.say("ab", {"a": EJECTED, "b": EJECTED}, panic=True, panic_opens=True)
    check.that("one that opens is", has("#verdict-title", "Panic:", "health is ignored"))
    told.restart("a", {"a": SLOW_START})
    check.that("a lone backend in slow start gets all", has(
        "#rows", "gets all of its share already") + " && !" + has("#rows", "100 % of its share"))


def gone(check, told):
    """A balancer that was destroyed is nowhere green, and its times stand."""
    told.restart("abc", log=[("a", "drained")])
    check.browser.open(told.url)
    check.that("all is well", has("#verdict-title", "All is well"))
    told.say("abc", dict.fromkeys("abc", 9), rate=0, policy="", gone=100, at=100)
    check.that("it is gone", has("#verdict-title", "Gone since ") + " && " +
               has("#policy", "the balancer is gone") + " && " + healthy_tile("-"))
    check.that("the title says so", "document.title === '\u25cb orders'")
    check.equal("the headline is not green", check.browser.evaluate(
        "document.querySelector('#verdict').dataset.level"), "gone")
    check.equal("no row is", check.browser.evaluate(
        "document.querySelectorAll('#rows .good').length"), 0)
    shown = "document.querySelector('#log time').textContent"
    before = check.browser.evaluate(shown)
    time.sleep(7)
    check.equal("a clock that stands moves no time", check.browser.evaluate(shown), before)


def series(check, told):
    """An event of a series stands for those before it."""
    told.restart("abc", log=[("a", "one")])
    told.log.append([2, 2, 1, "", "no room (1 times)", 41])
    check.browser.open(told.url)
    check.that("the first is listed", has("#log", "no room (1 times)"))
    told.log[1] = [3, 3, 1, "", "no room (2 times)", 41]
    told.log.append([4, 4, 1, "", "room", 42])
    check.that("then the next", has("#log", "no room (2 times)", "room"))
    check.equal("instead of it", check.browser.evaluate(
        "document.querySelectorAll('#log li').length"), 3)


RTL = "\u05d0\u05d1\u05d2-1"
TURNED = "\u202egnp.exe"
LONG = "orders-" + "x" * 100 + "-7"


def odd_ids(check, told):
    """An id turns nothing but itself, and is not wider than what it stands in."""
    told.restart([TURNED, "b"], {TURNED: EJECTED}, [(r"\u202egnp.exe", "left")])
    check.browser.open(told.url)
    for where in ("#verdict-title", "#troubles", "#log", "#rows"):
        check.that(f"a control of direction is shown and does nothing in {where}",
                   has(where, r"\u202egnp.exe") + " && !document.body.textContent.includes('\u202e')")
    check.browser.evaluate("document.querySelector('#rows button').click()")
    check.that("nor in the details", has("#detail-title", r"\u202egnp.exe"))
    check.browser.press("Escape")
    told.restart([RTL, "b"], {RTL: EJECTED}, [(RTL, "left")])
    for where in ("#verdict-title", "#troubles", "#log"):
        check.that(f"an id from right to left stands for itself in {where}",
                   has(where, f"\u2068{RTL}\u2069"))
    told.restart([LONG, "b"], {LONG: EJECTED}, [(LONG, "left")])
    for where in ("#verdict-title", "#troubles", "#log", "#rows"):
        check.that(f"a long id is cut in {where}",
                   has(where, "orders-xx", "\u2026", "xx-7") + " && " +
                   f"!document.querySelector('{where}').textContent.includes({LONG!r})")
    check.equal("its row has all of it", check.browser.evaluate(
        "document.querySelector('#rows button').title"), LONG)
    huge = "h" * 10_000
    told.restart(["b"], {}, [("b", "left")])
    told.log[0][3] = huge
    told.log[0][4] = f"{huge[:100]}\u2026{huge[:99]}: left"
    told.names[0][2] = told.names[0][1] = huge
    check.that("a huge one is cut in the log", "document.querySelector('#log').textContent"
               ".replace(/[^h]/g, '').length === 47")
    check.browser.evaluate("document.querySelector('#rows button').click()")
    check.that("and in the details", "document.querySelector('#detail-title').textContent.length "
               "=== 48 && document.querySelector('#detail-figures').textContent.includes('hh')")
    check.equal("nothing is wider than the page", check.browser.evaluate(
        "document.documentElement.scrollWidth <= document.documentElement.clientWidth"), True)
    check.browser.press("Escape")


def unseen(check, file):
    """Of an id the page shows what can't be seen, and asks for its bytes."""
    program = Program(file, 3, second=b" \xff")
    check.browser.open(program.url)
    check.that("blanks and other bytes are shown",
               r"""[...document.querySelectorAll('#rows th')].some(e => e.textContent === '\\x20\\xff'
               && e.firstChild.offsetWidth > 20)""")
    check.equal("in the table as text, too", r"\x20\xff" in program.text("text"), True)
    open_row(check, r"\x20\xff")
    check.that("the explanation is of this backend", "document.querySelector('#why').textContent "
               "&& !" + has("#why", "no backend") + " && !" + has("#why", "unknown"))
    check.equal("found by its bytes", check.browser.evaluate(
        "fetch(document.querySelector('#why-link').href).then(answer => answer.status)"), 200)
    check.browser.open("about:blank")  # before its server goes
    program.kill()


def silence(check, told):
    """A page that hears nothing says so, wherever one looks."""
    title = "document.title.includes"
    told.restart("abc")
    check.browser.open(told.url)
    check.that("the title is the balancer's", "document.title === '\u25cf orders'")
    told.silent = True
    check.that("a stale page's title says so", f"{title}('stale since') && {title}('orders')")
    check.that("its headline too", has("#verdict-title", "Stale since", "Before: \u25cf All is well"))
    check.browser.open(told.url)
    check.that("a page that never hears anything says so", has(
        "#verdict-title", "The server does not answer, since "))
    check.that("at its top, too", has("#live", "no answer since"))
    told.silent = False
    check.that("and is live when it does", has("#live", "live") + " && " +
               has("#verdict-title", "All is well") + " && document.title === '\u25cf orders'")


def pausing(check, told):
    """While it is paused no number changes, whatever is opened or sorted."""
    browser = check.browser
    shown = ("['#verdict-title', '#figures', '#log', '#rows'].map("
             "e => document.querySelector(e).textContent).join()")
    told.restart("abc")
    browser.open(told.url)
    check.that("it is live", has("#verdict-title", "All is well"))
    browser.evaluate("document.querySelector('#pause').click()")
    check.that("it says that it is paused", has("#live", "paused"))
    before = browser.evaluate(shown)
    told.restart("abc", {"b": EJECTED}, [("b", "left")], rate=555)
    time.sleep(1)
    browser.evaluate("document.querySelector('#columns button').click()")
    open_row(check, "b")
    time.sleep(0.5)
    check.equal("nothing moves", browser.evaluate(shown), before)
    browser.evaluate("document.querySelector('#pause').click()")
    check.that("what was missed is shown afterwards", has("#verdict-title", "b is ejected") +
               " && " + has("#figures", "555") + " && " + has("#log", "b: left"))


def without_script(check, told):
    """Without JavaScript the first words say what to do."""
    check.browser.call("Emulation.setScriptExecutionDisabled", value=True)
    check.browser.open(told.url)
    heard = Heard(check.browser)
    texts = [name for role, name, _ in heard.of("StaticText", "button")]
    check.equal(f"the explanation comes first: {texts[0]!r}", "JavaScript" in texts[0], True)
    check.equal("then a link", heard.of("link")[0][1], "the same numbers are there as text")
    check.equal("nothing pretends to work", [each for each in texts if each in (
        "connecting", "Pause", "Waiting for the first numbers")], [])
    check.browser.call("Emulation.setScriptExecutionDisabled", value=False)


def told_things(check, program):
    """What no balancer says when a test wants it."""
    told = Told(program)
    try:
        for part in (restarts, headlines, tiles, operators, gone, series, odd_ids, silence, pausing,
                     without_script):
            part(check, told)
    finally:
        check.browser.open("about:blank")
        told.close()
    check.browser.errors.clear()  # that the server answered 503


def small(check, program, file, axe):
    """What does not depend on how many backends there are."""
    numbers(check, program)
    keyboard(check)
    narrow(check)
    details(check, program, "server-3")
    alerts(check, program)
    if axe:
        accessible(check, axe)
    told_things(check, program)
    unseen(check, file)


def simulated(check):
    """The simulator's picture, as docs/ has it: legible, in the colours of the scheme."""
    browser = check.browser
    picture = Path(__file__).parents[2] / "docs/adaptive_grey.svg"
    backgrounds = []
    for scheme in ("light", "dark"):
        check.use_scheme(scheme)
        browser.open(picture.as_uri())
        backgrounds.append(browser.evaluate(
            "getComputedStyle(document.querySelector('.back')).fill"))
        check.equal(f"no text of the simulator's picture covers another or is cut, {scheme}",
                    browser.evaluate("""(() => {
            const all = [...document.querySelectorAll('text')];
            const {width} = document.documentElement.viewBox.baseVal;
            const meet = (a, b) => a.x < b.x + b.width && b.x < a.x + a.width &&
              a.y + 4 < b.y + b.height && b.y + 4 < a.y + a.height;
            const boxes = all.map(each => each.getBBox());
            return all.filter((each, i) => boxes[i].x < 0 || boxes[i].x + boxes[i].width > width ||
              boxes.some((box, j) => j < i && meet(box, boxes[i]))).map(each => each.textContent);
        })()"""), [])
    check.equal("it has a dark scheme", backgrounds[0] != backgrounds[1], True)
    check.no_errors()


def main(options):
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        browser = Browser(folder)
        check = Checks(browser, options.pictures)
        program = None
        try:
            simulated(check)
            for backends in (3, 300):
                program = Program(options.program, backends)
                incident(check, program, backends)
                hostile(check)
                if backends == 3:
                    small(check, program, options.program, options.axe)
                else:
                    crowd(check, program)
                    program = faults(check, options.program, program)
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
    arguments = argparse.ArgumentParser()
    arguments.add_argument("program")
    arguments.add_argument("--pictures")
    arguments.add_argument("--axe")
    main(arguments.parse_args())
