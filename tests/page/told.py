"""A server that has the live page of a program, and tells it what a test wants, as feed.hpp writes it."""

import http.server
import json
import threading
import time
import urllib.request

HEALTHY, SUSPECT, EJECTED, SLOW_START, DRAINED = 0, 1, 3, 5, 6
DECLARED_DEGRADED, DECLARED_UNHEALTHY = 11, 12
HELD = (DRAINED, DECLARED_DEGRADED, DECLARED_UNHEALTHY)
WHY = {EJECTED: [50, 200, "consecutive failures", 5, 5, 50], SLOW_START: [50, 200, "up", 0, 0, 50],
       **{state: [50, None, "by the operator", 0, 0, 50] for state in HELD}}
HEADERS = ("Content-Type", "Content-Security-Policy")


class Told:
    """Says all there is three times a second. While `silent` it answers 503."""

    def __init__(self, program):
        with urllib.request.urlopen(program.url) as answer:
            self.page = answer.read()
            self.headers = {name: answer.headers[name] for name in HEADERS}
        self.silent, self.number, self.processes = False, 0, 0
        self.restart(["a", "b", "c"])
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), self.handler())
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}/"

    def restart(self, ids, states=(), log=(), **now):
        """Another process: its clock, its numbers and its events begin again."""
        self.processes += 1
        self.began = time.time() - 100
        self.number = 0
        self.log = [[i, i, 1, each, f"{each}: {text}"] for i, (each, text) in enumerate(log, 1)]
        self.say(ids, states, **now)

    def say(self, ids, states=(), **now):
        states = dict(states)
        shown = [states.get(each, HEALTHY) for each in ids]
        self.names = [[i, each, "10.0.0.1:80", "", 0] for i, each in enumerate(ids, 1)]
        self.rows = [[i, state, 1, 30, 0, 2000, 9000, 100, 100, 1, 1000, 0] +
                     ([WHY[state]] if state in WHY else [])
                     for i, state in enumerate(shown, 1)]
        self.now = {"policy": "p2c", "requests": 100, "in_flight": 3, "rate": 100, "failures": 0,
                    "causes": {}, "refusals": {}, "retries": 0, "hedges": 0, "p50": 2000,
                    "p90": 4000, "p99": 9000,
                    "healthy": sum(shown.count(each) for each in (HEALTHY, SUSPECT, SLOW_START)),
                    "degraded": shown.count(DECLARED_DEGRADED), "drained": shown.count(DRAINED),
                    "unhealthy": shown.count(EJECTED) + shown.count(DECLARED_UNHEALTHY),
                    "unlisted": 0, "unlisted_unhealthy": 0, "unlisted_degraded": 0, "panic": False, "panic_opens": False,
                    "ticks_missing": False, "observer_failures": 0, **now}

    def event(self):
        self.number += 1
        at = self.now.get("at", time.time() - self.began)
        points = [[at - 3 * i, 100, 0, 0, 2000, 9000, 3, 4000] for i in range(20, -1, -1)]
        balancer = {"name": "orders", "now": {"at": at, **self.now}, "names": self.names,
                    "rows": self.rows, "log": self.log, "points": points, "stride": 1, "past": []}
        return {"epoch": str(self.processes), "number": self.number, "notices": [],
                "balancers": [balancer]}

    def handler(told):
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                if self.path == "/":
                    self.begin(told.headers)
                    self.wfile.write(told.page)
                elif self.path != "/events" or told.silent:
                    self.send_error(503)
                else:
                    self.begin({"Content-Type": "text/event-stream"})
                    self.follow()

            def begin(self, headers):
                self.send_response(200)
                for header in headers.items():
                    self.send_header(*header)
                self.end_headers()

            def follow(self):
                try:
                    while not told.silent:
                        data = json.dumps(told.event())
                        self.wfile.write(f"event: full\ndata: {data}\n\n".encode())
                        time.sleep(0.3)
                except OSError:
                    pass  # the page is gone

            def log_message(self, *_):
                pass

        return Handler

    def close(self):
        self.silent = True
        self.server.shutdown()
        self.server.server_close()
