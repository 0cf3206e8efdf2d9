"""soak.py PROGRAM [SECONDS]: 64 clients of examples/gateway for ten minutes, while backends are
killed and started again at random.

No request may fail, memory and descriptors stay what they were after the first tenth, and all counts
agree at the end. Prints a line every ten seconds; status 1 if anything is wrong.
"""

import random
import sys
import time

from changes import RETRY
from support import Backend, Gateway, Load, eventually

CLIENTS = 64
NAMES = "abcde"  # at most two of them are dead at a time: three attempts find one that lives
SETTLED = 1  # seconds; and no third one dies while a request may have met the first two
SETTINGS = RETRY + """
attempt_timeout = "5s"
[health.ejection]
base = "200ms"
unreachable = "200ms"
[gateway]
threads = 2
"""


class Backends:
    def __init__(self):
        self.alive = {name: Backend(name) for name in NAMES}
        self.ports = {name: each.port for name, each in self.alive.items()}
        self.back_at = {}
        self.last_back = {}
        self.history = []
        self.kills = 0
        self.answered = 0  # by those that were killed; a few of their answers never arrived

    def turn(self):
        """Kills one now and then, and starts those whose time has come."""
        now = time.monotonic()
        for name in [each for each, at in self.back_at.items() if at <= now]:
            del self.back_at[name]
            self.alive[name] = Backend(name, self.ports[name])
            self.last_back[name] = now
            self.history.append(f"{now:.3f} {name} is back")
        settled = [each for each in self.alive if now - self.last_back.get(each, 0) > SETTLED]
        if len(settled) > 3 and random.random() < 0.02:
            name = random.choice(settled)
            self.history.append(f"{now:.3f} {name} is killed")
            killed = self.alive.pop(name)
            killed.kill()
            killed.reserved.close()
            self.back_at[name] = now + random.uniform(0.3, 3)
            self.kills += 1
            self.answered += len(killed.requests)
        for each in self.alive.values():  # or this test's own memory would not be flat
            with each.lock:
                self.answered += len(each.requests)
                each.requests.clear()


def soak(program, seconds):
    backends = Backends()
    with Gateway(program, list(backends.alive.values()), SETTINGS) as gateway:
        load = Load(gateway, CLIENTS)
        began = time.monotonic()
        memory = descriptors = None
        shown = 0
        while (passed := time.monotonic() - began) < seconds:
            backends.turn()
            time.sleep(0.02)
            check_failures(load, gateway, backends)
            if memory is None and passed > seconds / 10:
                memory, descriptors = gateway.memory(), gateway.descriptors()
            if passed >= shown + 10:
                shown += 10
                print(f"{shown:4} s: {load.answered} answers, {backends.kills} kills, "
                      f"{gateway.memory()} KiB, {gateway.descriptors()} descriptors", flush=True)
        load.stop()
        backends.turn()
        check_failures(load, gateway, backends)
        check_counts(gateway, load, backends)
        assert gateway.memory() < memory + 8192, f"{memory} KiB became {gateway.memory()}"
        most = descriptors + len(NAMES) * CLIENTS  # a backend that returns gets connections again
        assert gateway.descriptors() <= most, f"{descriptors} descriptors, {gateway.descriptors()}"
        print(f"{load.answered} answers, {backends.kills} kills, no failure; memory {memory} to "
              f"{gateway.memory()} KiB")


def check_failures(load, gateway, backends):
    if load.failures:
        told = backends.history[-12:] + gateway.said().splitlines()[-30:] + load.failures[:3]
        raise AssertionError("\n".join([f"it is {time.monotonic():.3f}", *told]))


def check_counts(gateway, load, backends):
    eventually("no client is left", lambda: gateway.counts()["clients"] == 0)
    counts = gateway.counts()
    assert counts["responses"]["2xx"] == load.answered, (counts, load.answered)
    assert sum(counts["responses"].values()) == load.answered, counts
    balancer = gateway.page("/json").json["balancers"][0]
    results = balancer["requests"]
    assert results["in_flight"] == 0, results
    attempts = sum(each["attempts"] for each in balancer["backends"])
    assert attempts == load.answered + counts["retries"], (attempts, counts, load.answered)
    assert results["success"] == load.answered, (results, load.answered)
    assert backends.answered >= load.answered, (backends.answered, load.answered)


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    soak(sys.argv[1], float(sys.argv[2]) if len(sys.argv) == 3 else 600.0)
