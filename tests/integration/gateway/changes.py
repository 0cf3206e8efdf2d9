"""What happens while requests are in flight: backends die, the file changes, the gateway ends."""

import os
import signal
import threading
import time

from support import Backend, Client, Closed, Gateway, Load, PATIENCE, eventually, pattern

RETRY = """
[retry]
attempts = 3
base_pause = "1ms"
max_pause = "10ms"
budget_fraction = 1
min_retries_per_second = 1000
"""
ROUND_ROBIN = 'policy = "round_robin"'


def answers_of(gateway, count=30):
    return [gateway.ask("GET", "/slow/0").body.decode() for _ in range(count)]


def a_killed_backend_fails_no_request(program):
    a, b, c = (Backend(name) for name in "abc")
    with Gateway(program, [a, b, c], RETRY, ROUND_ROBIN) as g:
        load = Load(g)
        load.wait_for(100)
        b.kill()
        load.wait_for(300)
        load.stop()
        assert not load.failures, load.failures[:3]
        assert a.requests and c.requests


def a_backend_that_comes_back_is_used_again(program):
    a, b = Backend("a"), Backend("b")
    settings = RETRY + '[health.ejection]\nbase = "100ms"\nunreachable = "100ms"\n'
    with Gateway(program, [a, b], settings, ROUND_ROBIN) as g:
        b.kill()
        assert set(answers_of(g)) == {"a"}
        again = Backend("b", b.port)
        eventually("it answers again", lambda: "b" in answers_of(g, 4))
        assert again.requests


def reporting(report):
    """A path that says how loaded the backend is; the report may change later."""
    return lambda backend, connection, reader, request: connection.sendall(
        f"HTTP/1.1 200 OK\r\nContent-Length: {len(backend.name)}\r\n"
        f"Endpoint-Load-Metrics: {report[0]}\r\n\r\n{backend.name}".encode()) or True


def weights_follow_load_reports(program):
    a, b = Backend("a"), Backend("b")
    of_b = ["JSON {\"cpuUtilization\": 0.8, \"rpsFractional\": 60}"]
    a.paths["/load"] = reporting(["TEXT cpu_utilization=0.2,rps_fractional=60"])
    b.paths["/load"] = reporting(of_b)
    settings = "[load_reports]\nenabled = true\nblackout = \"1s\"\nmin_change = 0"

    def share_of_a(g):
        answers = [g.ask("GET", "/load").body.decode() for _ in range(200)]
        return answers.count("a") / 200

    with Gateway(program, [a, b], settings, 'policy = "smooth_weighted"') as g:
        assert share_of_a(g) == 0.5
        eventually("a gets four times as much", lambda: 0.78 < share_of_a(g) < 0.82)
        assert "Endpoint-Load-Metrics" in str(g.ask("GET", "/load").fields)
        of_b[0] = "TEXT cpu_utilization=lots"
        share_of_a(g)
        assert g.said().count('backend b: endpoint-load-metrics is "TEXT cpu_utilization=lots": '
                              'cpu_utilization is "lots": use') == 1, g.said()


def a_failing_backend_is_repeated_elsewhere(program):
    a, b = Backend("a"), Backend("b")
    b.paths["/echo"] = lambda backend, connection, reader, request: connection.sendall(
        b"HTTP/1.1 500 X\r\nContent-Length: 4\r\n\r\nfail") or True
    with Gateway(program, [a, b], RETRY, ROUND_ROBIN) as g:
        for _ in range(20):
            answer = g.ask("GET", "/echo")
            assert answer.status == 200 and answer.json["backend"] == "a"
        assert b.requests, "it was never asked"


def the_last_failure_is_passed_on(program):
    a = Backend("a")
    with Gateway(program, [a], RETRY) as g:
        answer = g.ask("GET", "/status/500")
        assert answer.status == 500 and answer.body == b"status"
        assert len(a.requests) == 3


def what_is_not_idempotent_is_sent_once(program):
    a, b = Backend("a"), Backend("b")
    with Gateway(program, [a, b], RETRY) as g:
        assert g.ask("POST", "/drop", body=b"").status == 502
        assert g.ask("PATCH", "/status/500", body=b"").status == 500
        assert len(a.requests) + len(b.requests) == 2


def what_is_not_idempotent_goes_past_a_dead_backend(program):
    a, b = Backend("a"), Backend("b")
    with Gateway(program, [a, b], RETRY, ROUND_ROBIN) as g:
        b.kill()
        for i in range(10):
            answer = g.ask("POST", "/echo", body=b"%d" % i)
            assert answer.status == 200 and answer.json["body"] == str(i)
        assert [body for _, _, body in a.requests] == [b"%d" % i for i in range(10)]


def a_body_that_was_read_is_never_sent_again(program):
    a, b = Backend("a"), Backend("b")
    with Gateway(program, [a, b], RETRY) as g:
        assert g.ask("PUT", "/drop", body=b"abc").status == 502
        assert len(a.requests) + len(b.requests) == 1


def a_body_that_waits_goes_to_the_next_backend(program):
    """Expect: 100-continue: the first backend ends before the body was read."""
    a, b = Backend("a"), Backend("b")
    seen = []

    def first_time(backend, connection, reader, request):
        seen.append(backend.name)
        if len(seen) == 1:
            return False
        assert reader.exactly(3) == b"abc"
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        return True
    a.paths["/once"] = b.paths["/once"] = first_time
    with Gateway(program, [a, b], RETRY, ROUND_ROBIN) as g, g.client() as client:
        client.send("PUT /once HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n"
                    "Content-Length: 3\r\n\r\n")
        assert client.response().status == 100
        eventually("the second backend is asked", lambda: len(seen) == 2)
        client.send("abc")
        assert client.response().body == b"ok"


def a_slow_attempt_is_repeated_elsewhere(program):
    a, b = Backend("a"), Backend("b")
    b.paths["/echo"] = lambda *_: time.sleep(PATIENCE) or False
    settings = RETRY + 'attempt_timeout = "100ms"\n'
    with Gateway(program, [a, b], settings, ROUND_ROBIN) as g:
        for _ in range(6):
            assert g.ask("GET", "/echo").json["backend"] == "a"


def without_a_backend_it_is_503(program):
    """A probe finds the only one down. The monitor alone never ejects the last one."""
    a = Backend("a")
    a.kill()
    settings = '[health.panic]\nmode = "closed"\nthreshold = "50%"\n' \
               '[probe]\nkind = "tcp"\ninterval = "200ms"\ntimeout = "100ms"\n'
    with Gateway(program, [a], settings) as g:
        eventually("it is down", lambda: g.ask("GET", "/echo").status == 503)


def a_hundred_reloads_fail_no_request(program):
    """Good ones and bad ones."""
    a, b, c = (Backend(name) for name in "abc")
    with Gateway(program, [a, b], RETRY, ROUND_ROBIN) as g:
        load = Load(g)
        for i in range(100):
            g.write([a, b, c] if i % 2 else [a, b], RETRY,
                    "nonsense = 1" if i % 3 == 0 else ROUND_ROBIN)
            g.process.send_signal(signal.SIGHUP)
            load.wait_for(5)
        load.stop()
        assert not load.failures, load.failures[:3]
        assert "unknown key" in g.said()


def a_reload_keeps_the_connections_of_what_stays(program):
    a, b = Backend("a"), Backend("b")
    with Gateway(program, [a], "", ROUND_ROBIN) as g, g.client() as client:
        client.ask("GET", "/length/1")
        before = a.connections
        g.write([a, b], "", ROUND_ROBIN)
        g.process.send_signal(signal.SIGHUP)

        def both_answer():
            client.ask("GET", "/length/1")
            return bool(b.requests)
        eventually("the new backend is used", both_answer)
        for _ in range(10):
            client.ask("GET", "/length/1")
        assert a.connections == before


def a_reload_changes_limits(program):
    a = Backend("a")
    with Gateway(program, [a]) as g:
        assert g.ask("POST", "/echo", body=b"x" * 2000).status == 200
        g.write([a], "[gateway]\nmax_body = 1000\n")
        g.process.send_signal(signal.SIGHUP)
        eventually("the limit is lower",
                   lambda: g.ask("POST", "/echo", body=b"x" * 2000).status == 413)


def what_changes_at_a_restart_is_refused(program):
    a, b = Backend("a"), Backend("b")
    with Gateway(program, [a]) as g:
        g.write([b], "[gateway]\nthreads = 7\n")
        g.process.send_signal(signal.SIGHUP)
        eventually("it says so", lambda: "gateway.threads is 7" in g.said())
        assert set(answers_of(g, 3)) == {"a"}


def connections_of_a_removed_backend_are_closed(program):
    a, b = Backend("a"), Backend("b")
    with Gateway(program, [a, b], "", ROUND_ROBIN) as g:
        answers_of(g, 6)
        assert b.open
        g.write([a])
        g.process.send_signal(signal.SIGHUP)
        eventually("its connections are closed", lambda: not b.open)


def a_drain_lets_requests_end(program):
    a = Backend("a")
    with Gateway(program, [a]) as g:
        busy, idle = g.client(), g.client()
        idle.ask("GET", "/length/1")
        busy.send("GET /slow/700 HTTP/1.1\r\nHost: x\r\n\r\n")
        eventually("the request has arrived", lambda: len(a.requests) == 2)
        g.terminate()
        assert idle.closed(), "a client without a request stays"
        eventually("new clients are refused", lambda: refuses(g.port))
        answer = busy.response()
        assert answer.body == b"a" and answer["Connection"] == "close" and busy.closed()
        assert g.process.wait(PATIENCE) == 0
        assert "drained" in g.said()


def a_drain_has_an_end(program):
    a = Backend("a")
    with Gateway(program, [a], '[gateway]\ndrain_timeout = "200ms"\n') as g:
        client = g.client()
        client.send("GET /hang HTTP/1.1\r\nHost: x\r\n\r\n")
        eventually("the request has arrived", lambda: a.requests)
        g.terminate()
        assert g.process.wait(PATIENCE) == 0
        assert "cut off" in g.said() and client.closed()


def a_second_signal_ends_a_drain(program):
    a = Backend("a")
    with Gateway(program, [a], '[gateway]\ndrain_timeout = "1h"\n') as g:
        client = g.client()
        client.send("GET /hang HTTP/1.1\r\nHost: x\r\n\r\n")
        eventually("the request has arrived", lambda: a.requests)
        g.terminate()
        eventually("it drains", lambda: "draining" in g.said())
        g.terminate()
        assert g.process.wait(PATIENCE) == 0


def refuses(port):
    try:
        Client(port).socket.close()
        return False
    except ConnectionRefusedError:
        return True


def one_client_too_many_is_503(program):
    a = Backend("a")
    with Gateway(program, [a], "[gateway]\nmax_connections = 2\n") as g:
        with g.client() as first, g.client() as second:
            assert first.ask("GET", "/length/1").status == 200
            assert second.ask("GET", "/length/1").status == 200
            with g.client() as third:
                assert third.response().status == 503 and third.closed()
        eventually("there is room again", lambda: g.ask("GET", "/length/1").status == 200)


def a_full_backend_is_waited_for(program):
    a = Backend("a")
    settings = '[limits]\nmax_in_flight = 1\n[gateway]\nqueue_timeout = "20s"\n'
    with Gateway(program, [a], settings) as g:
        answers = []
        threads = [threading.Thread(target=lambda: answers.append(
            g.ask("GET", "/slow/50").status)) for _ in range(6)]
        for each in threads:
            each.start()
        for each in threads:
            each.join(PATIENCE)
        assert answers == [200] * 6, answers


def a_key_goes_to_one_backend(program):
    backends = [Backend(name) for name in "abc"]
    with Gateway(program, backends, '[gateway]\nroute_key = "cookie:user"\n',
                 'policy = "maglev"') as g:
        for user in "xyz":
            assert len({g.ask("GET", "/slow/0", f"Cookie: a=b; user={user}").body
                        for _ in range(6)}) == 1
        assert len({g.ask("GET", "/slow/0", f"Cookie: user={i}").body for i in range(40)}) == 3


def a_backend_may_be_a_unix_socket(program):
    import socket
    a = Backend("a")
    a.listener.close()
    path = f"/tmp/gateway-test-{os.getpid()}.sock"
    a.listener = socket.socket(socket.AF_UNIX)
    a.listener.bind(path)
    a.listener.listen()

    def accept():
        while True:
            try:
                connection, _ = a.listener.accept()
            except OSError:
                return
            threading.Thread(target=a.serve, args=(connection,), daemon=True).start()
    threading.Thread(target=accept, daemon=True).start()
    a.address = "unix:" + path
    try:
        with Gateway(program, [a]) as g, g.client() as client:
            for size in (1, 100000):
                assert client.ask("GET", f"/length/{size}").body == pattern(size)
    finally:
        os.unlink(path)


def a_backend_may_have_a_name(program):
    a = Backend("a")
    a.address = f"localhost:{a.port}"
    with Gateway(program, [a]) as g:
        assert g.ask("GET", "/length/1").status == 200


def web_sockets_outlive_a_reload(program):
    a = Backend("a")
    with Gateway(program, [a]) as g, g.client() as client:
        client.send("GET /ws HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: websocket"
                    "\r\n\r\n")
        assert client.response().status == 101
        b = Backend("b")
        g.write([b])
        g.process.send_signal(signal.SIGHUP)
        eventually("the new backend is used", lambda: answers_of(g, 1) == ["b"])
        client.send(pattern(5000))
        assert client.reader.exactly(5000) == pattern(5000)


def a_web_socket_ends_with_its_backend(program):
    a = Backend("a")
    with Gateway(program, [a]) as g, g.client() as client:
        client.send("GET /ws HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: websocket"
                    "\r\n\r\n")
        assert client.response().status == 101
        a.kill()
        assert client.closed()


def memory_and_descriptors_stay_flat(program):
    """Backends die and come back, clients come and go."""
    a, b = Backend("a"), Backend("b")
    settings = RETRY + '[health.ejection]\nbase = "20ms"\nunreachable = "20ms"\n'
    with Gateway(program, [a, b], settings, ROUND_ROBIN) as g:
        def go_through(times):
            nonlocal b
            for _ in range(times):
                load = Load(g, 4)
                load.wait_for(50)
                b.kill()
                load.wait_for(50)
                b = Backend("b", b.port)
                load.wait_for(50)
                load.stop()
                assert not load.failures, load.failures[:3]
        go_through(5)
        memory, descriptors = g.memory(), g.descriptors()
        go_through(15)
        eventually("clients are gone", lambda: g.counts()["clients"] == 0)
        assert g.memory() < memory + 4096, (memory, g.memory())
        eventually("descriptors are closed", lambda: g.descriptors() <= descriptors + 2)


CASES = [each for each in list(globals().values())
         if callable(each) and each.__module__ == __name__ and each.__name__ not in
         ("answers_of", "refuses", "reporting")]
