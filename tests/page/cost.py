"""cost.py PROGRAM: what the live page of PROGRAM's 300 backends costs, its server and a Chromium.

Three states in turns, so that a busy machine slows all of them: nobody looks (the floor), 20 viewers
follow, a Chromium of 1280x800 shows the page. Prints CPU time a second: medians, the least, and the
ratio to the floor. It asserts nothing. Build PROGRAM with -O2: g++ -std=c++20 -O2 -Iinclude
tests/page/program.cpp -pthread
"""

import contextlib
import selectors
import statistics
import sys
import tempfile
import threading
import time
import urllib.request
from pathlib import Path

from check import Browser, Checks, Program

BACKENDS = 300
TURNS = 5
SECONDS = 6  # of each turn; one more before it, to settle


class Costs:
    """CPU times in seconds, by what they are for."""

    def __init__(self, program, browser):
        tasks = Path(f"/proc/{program.process.pid}/task")
        # In the order of creation: the input's, the server's, the ticker's, the traffic's.
        server = sorted(int(each.name) for each in tasks.iterdir())[1]
        self.schedule = tasks / str(server) / "schedstat"
        self.browser = browser
        browser.call("Performance.enable", timeDomain="threadTicks")

    def now(self):
        session, self.browser.session = self.browser.session, None  # of the whole browser
        processes = self.browser.call("SystemInfo.getProcessInfo")["processInfo"]
        self.browser.session = session
        tasks = {each["name"]: each["value"]
                 for each in self.browser.call("Performance.getMetrics")["metrics"]}
        return {"the server's thread": int(self.schedule.read_text().split()[0]) / 1e9,
                "Chromium, all processes": sum(each["cpuTime"] for each in processes),
                "... its page's tasks": tasks["TaskDuration"],
                "... scripts": tasks["ScriptDuration"],
                "... layout and style": tasks["LayoutDuration"] + tasks["RecalcStyleDuration"]}

    def of(self, seconds):
        """In ms a second."""
        before, began = self.now(), time.monotonic()
        time.sleep(seconds)
        after, span = self.now(), time.monotonic() - began
        return {name: 1000 * (after[name] - before[name]) / span for name in before}


@contextlib.contextmanager
def viewers(url, count):
    """So many clients of /events, which read all that comes. Gives a list of the bytes read."""
    streams = [urllib.request.urlopen(url + "events") for _ in range(count)]
    done, read = threading.Event(), [0]

    def follow():
        with selectors.DefaultSelector() as ready:
            for each in streams:
                ready.register(each.fileno(), selectors.EVENT_READ, each)
            while not done.is_set():
                for key, _ in ready.select(0.1):
                    read[0] += len(key.data.read1(65536))

    reader = threading.Thread(target=follow)
    reader.start()
    try:
        yield read
    finally:
        done.set()
        reader.join()
        for each in streams:
            each.close()


def turn(costs, seconds):
    time.sleep(1)
    return costs.of(seconds)


def measure(program, browser):
    costs = Costs(program, browser)
    states = {"nobody": [], "20 viewers": [], "a browser": []}
    tick_sizes = []
    for _ in range(TURNS):
        states["nobody"].append(turn(costs, SECONDS))
        with viewers(program.url, 20) as read:
            time.sleep(1)
            before = read[0]
            states["20 viewers"].append(costs.of(SECONDS))
            tick_sizes.append((read[0] - before) / 20 / SECONDS)
        browser.open(program.url)
        time.sleep(3)
        states["a browser"].append(turn(costs, SECONDS))
        browser.open("about:blank")
    return states, tick_sizes


def report(states, floor):
    for state, turns in states.items():
        print(f"\n{state:<32}{'median':>8}{'least':>8}{'most':>8}  ms of CPU a second")
        for name in turns[0]:
            values = [each[name] for each in turns]
            median = statistics.median(values)
            base = statistics.median(each[name] for each in states[floor])
            ratio = f"  x {median / base:.1f}" if state != floor and base > 0.05 else ""
            print(f"  {name:<30}{median:8.2f}{min(values):8.2f}{max(values):8.2f}{ratio}")


def main(file):
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        browser = Browser(folder)
        program = Program(file, BACKENDS)
        try:
            Checks(browser, None).resize(1280, 800)
            print(f"the page: {len(program.text('')) / 1000:.1f} kB")
            states, tick_sizes = measure(program, browser)
            print(f"a tick: {statistics.median(tick_sizes) / 1000:.1f} kB a second and viewer")
            report(states, "nobody")
        finally:
            browser.close()
            program.kill()


if __name__ == "__main__":
    main(*sys.argv[1:])
