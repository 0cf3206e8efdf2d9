"""What HTTP/1.1 wants of a gateway. Each function is a case; its name says what holds."""

import re
import time

from support import Closed, Response, eventually, pattern


def request(target, *fields, method="GET"):
    return "\r\n".join([f"{method} {target} HTTP/1.1", "Host: x", *fields]) + "\r\n\r\n"


def told(answer, name):
    """What the backend got of a field."""
    found = [value for key, value in answer.json["fields"] if key.lower() == name.lower()]
    return ", ".join(found) if found else None


def a_request_reaches_the_backend(g, b):
    answer = g.ask("GET", "/echo?a=b%20c", "X-A: 1")
    assert answer.status == 200 and answer.json["line"] == "GET /echo?a=b%20c HTTP/1.1"
    assert told(answer, "X-A") == "1" and told(answer, "Host") == "test"


def a_body_with_a_length_reaches_the_backend(g, b):
    answer = g.ask("POST", "/echo", body=pattern(300000))
    assert answer.json["body"].encode() == pattern(300000)
    assert told(answer, "Content-Length") == "300000"


def a_chunked_body_reaches_the_backend(g, b):
    with g.client() as client:
        client.send(request("/echo", "Transfer-Encoding: chunked", method="POST"))
        for part in (b"5\r\nhello\r\n", b"6\r\n world\r\n", b"0\r\n\r\n"):
            client.send(part)
            time.sleep(0.02)
        answer = client.response()
        assert answer.json["body"] == "hello world", answer.body
        assert told(answer, "Transfer-Encoding") == "chunked"
        assert told(answer, "Content-Length") is None
        assert client.ask("GET", "/echo").status == 200


def an_empty_chunked_body_reaches_the_backend(g, b):
    with g.client() as client:
        client.send(request("/echo", "Transfer-Encoding: chunked", method="POST") + "0\r\n\r\n")
        assert client.response().json["body"] == ""


def a_body_byte_by_byte_reaches_the_backend(g, b):
    with g.client() as client:
        for byte in request("/echo", "Transfer-Encoding: chunked", method="POST") + \
                "3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n":
            client.send(byte)
        assert client.response().json["body"] == "abcde"


def trailers_of_a_request_are_dropped(g, b):
    with g.client() as client:
        client.send(request("/echo", "Transfer-Encoding: chunked", "Trailer: X-T", method="POST") +
                    "3\r\nabc\r\n0\r\nX-T: 1\r\n\r\n")
        answer = client.response()
        assert answer.json["body"] == "abc" and told(answer, "Trailer") is None
        assert client.ask("GET", "/echo").status == 200


def a_post_without_a_body_keeps_its_length(g, b):
    assert told(g.ask("POST", "/echo", body=b""), "Content-Length") == "0"


def a_get_without_a_body_gets_no_length(g, b):
    answer = g.ask("GET", "/echo")
    assert told(answer, "Content-Length") is None and told(answer, "Transfer-Encoding") is None


def a_get_with_a_body_is_passed_on(g, b):
    assert g.ask("GET", "/echo", body=b"abc").json["body"] == "abc"


def methods_of_any_name_are_passed_on(g, b):
    for method in ("PUT", "DELETE", "PATCH", "OPTIONS", "PROPFIND", "BREW"):
        assert g.ask(method, "/echo").json["line"].startswith(method + " ")


def options_of_everything_is_passed_on(g, b):
    assert g.ask("OPTIONS", "*").json["line"] == "OPTIONS * HTTP/1.1"


def a_response_with_a_length_comes_whole(g, b):
    for size in (0, 1, 16383, 16384, 16385, 1000000):
        answer = g.ask("GET", f"/length/{size}")
        assert answer.body == pattern(size) and answer["Content-Length"] == str(size)


def a_chunked_response_comes_whole(g, b):
    for size in (0, 1, 1000, 500000):
        answer = g.ask("GET", f"/chunked/{size}")
        assert answer.body == pattern(size) and answer["Transfer-Encoding"] == "chunked"


def a_response_that_ends_with_its_connection_becomes_chunked(g, b):
    with g.client() as client:
        answer = client.ask("GET", "/until-close/70000")
        assert answer.body == pattern(70000) and answer["Transfer-Encoding"] == "chunked"
        assert client.ask("GET", "/echo").status == 200


def a_response_of_http_1_0_is_passed_on(g, b):
    with g.client() as client:
        answer = client.ask("GET", "/old")
        assert answer.body == b"old" and answer.version == "HTTP/1.1"
        assert client.ask("GET", "/echo").status == 200


def trailers_and_extensions_of_a_response_are_dropped(g, b):
    answer = g.ask("GET", "/trailers")
    assert answer.body == b"hello" and answer["Trailer"] is None and answer["X-Sum"] is None


def a_client_of_http_1_0_gets_no_chunks(g, b):
    with g.client() as client:
        client.send("GET /chunked/5000 HTTP/1.0\r\n\r\n")
        answer = client.response()
        assert answer.body == pattern(5000) and answer["Transfer-Encoding"] is None
        assert answer["Connection"] == "close" and client.closed()


def a_client_of_http_1_0_may_keep_its_connection(g, b):
    with g.client() as client:
        for _ in range(2):
            client.send("GET /length/10 HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
            answer = client.response()
            assert answer.body == pattern(10) and answer["Connection"] == "keep-alive"


def a_client_of_http_1_0_is_closed_otherwise(g, b):
    with g.client() as client:
        client.send("GET /length/10 HTTP/1.0\r\n\r\n")
        assert client.response()["Connection"] == "close" and client.closed()


def a_client_of_http_1_0_needs_no_host(g, b):
    with g.client() as client:
        client.send("GET /echo HTTP/1.0\r\n\r\n")
        assert told(client.response(), "Host") == b.address


def a_backend_that_reads_no_body_is_given_up(g, b):
    """Its connection stays open, and takes no more."""
    def deaf(backend, connection, reader, request):
        connection.shutdown(0)  # SHUT_RD: what is sent there is reset
        time.sleep(8)
        return False
    b.paths["/deaf"] = deaf
    with g.client() as client:
        client.send(request("/deaf", "Content-Length: 900000", method="POST") + "x" * 900000)
        assert client.response().status in (502, 504)


def head_has_the_length_and_no_body(g, b):
    with g.client() as client:
        answer = client.ask("HEAD", "/length/1234")
        assert answer["Content-Length"] == "1234"
        assert client.ask("GET", "/length/3").body == pattern(3)


def head_of_a_chunked_response_has_no_body(g, b):
    with g.client() as client:
        assert client.ask("HEAD", "/chunked/1234").status == 200
        assert client.ask("GET", "/length/3").body == pattern(3)


def status_204_has_no_body(g, b):
    with g.client() as client:
        answer = client.ask("GET", "/status/204")
        assert answer.status == 204 and answer["Content-Length"] is None
        assert answer["Transfer-Encoding"] is None
        assert client.ask("GET", "/length/3").body == pattern(3)


def status_304_has_no_body(g, b):
    with g.client() as client:
        answer = client.ask("GET", "/status/304")
        assert answer.status == 304 and answer["ETag"] == '"x"'
        assert answer["Transfer-Encoding"] is None
        assert client.ask("GET", "/length/3").body == pattern(3)


def status_304_may_tell_a_length(g, b):
    with g.client() as client:
        assert client.ask("GET", "/304-length")["Content-Length"] == "500"
        assert client.ask("GET", "/length/3").body == pattern(3)


def any_status_and_its_reason_are_passed_on(g, b):
    for status in (200, 201, 301, 400, 404, 418, 500, 503, 599):
        answer = g.ask("POST", f"/status/{status}", body=b"")
        assert answer.status == status and answer.body == b"status"


def early_hints_are_passed_on(g, b):
    with g.client() as client:
        client.send(request("/hints"))
        first = client.response()
        assert first.status == 103 and first["Link"] == "</x.css>"
        assert client.response().body == b"after hints"


def early_hints_are_kept_from_http_1_0(g, b):
    with g.client() as client:
        client.send("GET /hints HTTP/1.0\r\n\r\n")
        assert client.response().body == b"after hints"


def a_100_of_the_backend_is_not_passed_on(g, b):
    assert g.ask("GET", "/continue").body == b"after 100"


def interim_responses_have_a_limit(g, b):
    with g.client() as client:
        client.send(request("/interims/100"))
        statuses = []
        while not statuses or statuses[-1] < 200:
            statuses.append(client.response().status)
        assert statuses[-1] == 502 and len(statuses) < 30, statuses


def a_client_that_expects_is_told_to_continue(g, b):
    with g.client() as client:
        client.send(request("/echo", "Expect: 100-continue", "Content-Length: 3", method="POST"))
        assert client.response().status == 100
        client.send("abc")
        answer = client.response()
        assert answer.json["body"] == "abc" and told(answer, "Expect") is None
        assert client.ask("GET", "/echo").status == 200


def a_client_that_does_not_wait_is_not_told(g, b):
    with g.client() as client:
        client.send(request("/echo", "Expect: 100-continue", "Content-Length: 3", method="POST") +
                    "abc")
        assert client.response().json["body"] == "abc"


def fields_of_one_connection_stay_there(g, b):
    answer = g.ask("GET", "/echo", "Connection: X-Gone, close", "X-Gone: 1", "Keep-Alive: 3",
                   "Proxy-Connection: x", "TE: trailers", "Upgrade: h2c", "X-Stays: 1")
    for name in ("Connection", "X-Gone", "Keep-Alive", "Proxy-Connection", "TE", "Upgrade"):
        assert told(answer, name) is None, name
    assert told(answer, "X-Stays") == "1"


def fields_of_the_backends_connection_stay_there(g, b):
    answer = g.ask("GET", "/hop")
    for name in ("Connection", "X-Gone", "Keep-Alive", "Proxy-Connection", "Upgrade"):
        assert answer[name] is None, (name, answer.fields)
    assert answer["X-Stays"] == "1"


def the_host_and_the_length_can_not_be_named_away(g, b):
    answer = g.ask("POST", "/echo", "Connection: Host, Content-Length, X-Forwarded-For",
                   body=b"abc")
    assert told(answer, "Host") == "test" and answer.json["body"] == "abc"
    assert told(answer, "X-Forwarded-For") == "127.0.0.1"


def the_backend_is_told_of_the_client(g, b):
    answer = g.ask("GET", "/echo", "X-Forwarded-For: 6.6.6.6", "X-Forwarded-Proto: https",
                   "Forwarded: for=6.6.6.6", "X-Forwarded-Host: evil")
    assert told(answer, "X-Forwarded-For") == "127.0.0.1"
    assert told(answer, "X-Forwarded-Proto") == "http" and told(answer, "Forwarded") is None
    assert told(answer, "X-Forwarded-Host") == "test"
    assert told(answer, "Via") == "1.1 the-gateway", told(answer, "Via")


def several_fields_of_one_name_stay_several(g, b):
    answer = g.ask("GET", "/echo", "X-A: 1", "X-B: 2", "X-A: 3")
    assert [pair for pair in answer.json["fields"] if pair[0] in ("X-A", "X-B")] == \
        [["X-A", "1"], ["X-B", "2"], ["X-A", "3"]]


def a_folded_field_of_a_backend_is_unfolded(g, b):
    assert g.ask("GET", "/folded")["X-Folded"] == "one two"


def blanks_around_values_are_dropped(g, b):
    assert told(g.ask("GET", "/echo", "X-A: \t 1 \t "), "X-A") == "1"


def bytes_above_ascii_are_passed_on(g, b):
    assert told(g.ask("GET", "/echo", "X-A: \xe4\xff"), "X-A") == "\xe4\xff"


def names_are_the_same_in_any_case(g, b):
    with g.client() as client:
        client.send("POST /echo HTTP/1.1\r\nhOsT: x\r\ncOnTeNt-LeNgTh: 3\r\n\r\nabc")
        assert client.response().json["body"] == "abc"


def chunked_is_the_same_in_any_case(g, b):
    with g.client() as client:
        client.send(request("/echo", "Transfer-Encoding: ChuNKed", method="POST") +
                    "A\r\n0123456789\r\n0\r\n\r\n")
        assert client.response().json["body"] == "0123456789"


def empty_lines_before_a_request_are_skipped(g, b):
    with g.client() as client:
        client.send("\r\n\r\n" + request("/length/1"))
        assert client.response().body == pattern(1)


def a_connection_serves_many_requests(g, b):
    with g.client() as client:
        for i in range(50):
            assert client.ask("GET", f"/length/{i}").body == pattern(i)


def pipelined_requests_are_answered_in_order(g, b):
    with g.client() as client:
        client.send("".join(request(f"/length/{i}") for i in range(20)))
        for i in range(20):
            assert client.response().body == pattern(i)


def pipelined_bodies_are_told_apart(g, b):
    with g.client() as client:
        client.send(request("/echo", "Content-Length: 3", method="POST") + "abc" +
                    request("/echo", "Transfer-Encoding: chunked", method="POST") +
                    "2\r\nde\r\n0\r\n\r\n" + request("/length/2"))
        assert client.response().json["body"] == "abc"
        assert client.response().json["body"] == "de"
        assert client.response().body == pattern(2)


def a_request_that_is_refused_ends_the_pipeline(g, b):
    with g.client() as client:
        before = len(b.requests)
        client.send(request("/length/1") + "GET / HTTP/1.1\r\nHost : x\r\n\r\n" +
                    request("/length/2"))
        assert client.response().body == pattern(1)
        assert client.response().status == 400 and client.closed()
        assert len(b.requests) == before + 1


def close_closes(g, b):
    with g.client() as client:
        assert client.ask("GET", "/length/1", "Connection: close")["Connection"] == "close"
        assert client.closed()


def close_among_others_closes(g, b):
    with g.client() as client:
        client.ask("GET", "/length/1", "Connection: x, Close")
        assert client.closed()


def connections_to_backends_are_kept(g, b):
    with g.client() as client:
        client.ask("GET", "/length/1")
        before = b.connections
        for _ in range(20):
            client.ask("GET", "/length/1")
        assert b.connections == before


def a_kept_connection_that_was_closed_costs_nothing(g, b):
    with g.client() as client:
        for _ in range(20):
            assert client.ask("GET", "/last").body == b"last"


def a_response_streams(g, b):
    with g.client() as client:
        began = time.monotonic()
        client.send(request("/stream/20"))
        client.reader.until(b"\r\n\r\n")
        assert client.reader.until(b"\r\n") == b"2"
        assert time.monotonic() - began < 0.9, "the first part came with the last one"
        client.reader.exactly(4)
        assert len(client.reader.chunks()) >= 1


def a_request_streams(g, b):
    """The backend answers what it has, while the client still sends."""
    def mirror(backend, connection, reader, request):
        connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            size = int(reader.until(b"\r\n"), 16)
            data = reader.exactly(size + 2)
            connection.sendall(b"%x\r\n%s" % (size, data))
            if size == 0:
                return True
    b.paths["/mirror"] = mirror
    with g.client() as client:
        client.send(request("/mirror", "Transfer-Encoding: chunked", method="POST"))
        client.reader.until(b"\r\n\r\n")
        for i in range(5):
            client.send(b"2\r\n%d!\r\n" % i)
            assert client.reader.until(b"\r\n") == b"2"
            assert client.reader.exactly(4) == b"%d!\r\n" % i
        client.send("0\r\n\r\n")
        assert client.reader.chunks() == []


def an_answer_before_the_end_of_the_body_is_passed_on(g, b):
    def early(backend, connection, reader, request):
        connection.sendall(b"HTTP/1.1 413 Too Long\r\nContent-Length: 4\r\n\r\nlong")
        return False
    b.paths["/early"] = early
    with g.client() as client:
        client.send(request("/early", "Content-Length: 900000", method="POST") + "x" * 1000)
        answer = client.response()
        assert answer.status == 413 and answer.body == b"long" and answer["Connection"] == "close"


def a_broken_response_is_seen_to_be_broken(g, b):
    for target in ("/half", "/half-chunk"):
        with g.client() as client:
            client.send(request(target))
            try:
                answer = client.response()
                raise AssertionError(f"{target} came as {answer.status} {answer.body!r}")
            except (Closed, ConnectionError):
                pass


def a_broken_response_resets_http_1_0(g, b):
    with g.client() as client:
        client.send("GET /half-chunk HTTP/1.0\r\n\r\n")
        try:
            while client.socket.recv(1000):
                pass
            raise AssertionError("its end looks like that of a whole response")
        except ConnectionResetError:
            pass


def a_response_that_is_none_is_502(g, b):
    for kind in ("both", "lengths", "coding", "line", "garbage", "switch", "huge"):
        with g.client() as client:
            answer = client.ask("POST", f"/bad/{kind}", body=b"")
            assert answer.status == 502, (kind, answer.status)
            assert client.ask("GET", "/length/1").body == pattern(1), kind


def no_answer_is_502(g, b):
    assert g.ask("POST", "/drop", body=b"").status == 502


def no_answer_in_time_is_504(g, b):
    assert g.ask("POST", "/hang", body=b"").status == 504


def a_client_that_is_gone_hurts_no_other(g, b):
    for _ in range(20):
        client = g.client()
        client.send(request("/length/1000000"))
        client.reset()
    assert g.ask("GET", "/length/1").status == 200


def a_request_without_its_end_is_given_up(g, b):
    with g.client() as client:
        client.send("GET / HTTP/1.1\r\nHost: x\r\n")
        assert client.response().status == 408 and client.closed()


def a_request_byte_by_byte_is_given_up(g, b):
    """Slowloris: each byte comes in time, the whole does not."""
    with g.client() as client:
        try:
            for byte in "GET / HTTP/1.1\r\nX-A: " + "a" * 1000:
                client.send(byte)
                time.sleep(0.05)
            raise AssertionError("it was read for 50 s")
        except (BrokenPipeError, ConnectionResetError):
            pass


def a_body_without_its_end_is_given_up(g, b):
    with g.client() as client:
        client.send(request("/echo", "Content-Length: 10", method="POST") + "abc")
        assert client.response().status == 408 and client.closed()


def a_client_without_a_request_is_closed(g, b):
    with g.client() as client:
        assert client.closed()


def a_web_socket_is_a_tunnel(g, b):
    with g.client() as client:
        client.send(request("/ws", "Connection: keep-alive, Upgrade", "Upgrade: WebSocket",
                            "Sec-WebSocket-Key: a", "Sec-WebSocket-Version: 13") + "early")
        answer = client.response()
        assert answer.status == 101 and answer["Upgrade"] == "websocket"
        assert answer["Sec-WebSocket-Accept"] == "x" and answer["Connection"] == "upgrade"
        assert client.reader.exactly(5) == b"early"
        for size in (1, 1000, 100000):
            client.send(pattern(size))
            assert client.reader.exactly(size) == pattern(size)
        line, fields, _ = b.requests[-1]
        assert ("Sec-WebSocket-Key", "a") in fields and ("Upgrade", "WebSocket") in fields


def a_web_socket_that_is_refused_is_a_response(g, b):
    with g.client() as client:
        client.send(request("/status/404", "Connection: Upgrade", "Upgrade: websocket"))
        assert client.response().status == 404
        assert client.ask("GET", "/length/1").status == 200


def other_upgrades_are_not_asked_for(g, b):
    for protocol in ("h2c", "websocket, h2c", "TLS/1.0"):
        answer = g.ask("GET", "/echo", "Connection: Upgrade", f"Upgrade: {protocol}")
        assert told(answer, "Upgrade") is None, protocol


def the_log_has_a_line_per_request(g, b):
    g.ask("GET", "/length/7?logged")
    eventually("the request is in the log", lambda: "logged" in g.access_log.read_text())
    line = [each for each in g.access_log.read_text().splitlines() if "logged" in each][-1]
    wanted = r'^\d{4}-\d\d-\d\dT\S+Z 127\.0\.0\.1 "GET /length/7\?logged HTTP/1\.1" 200 0 7 ' \
             r'\d\.\d{6} "a: success after [\d.]+ ms"$'
    assert re.match(wanted, line), line


def the_log_has_no_line_of_a_client(g, b):
    g.ask("GET", '/echo?quote"x\x7f\\')
    eventually("it is in the log", lambda: "quote" in g.access_log.read_text())
    assert 'quote\\x22x\\x5c' in g.access_log.read_text() or \
        "quote\\x22x\\x7f\\x5c" in g.access_log.read_text()


def the_pages_tell_of_it(g, b):
    g.ask("GET", "/length/1")
    assert b"poise_gateway_responses_total" in g.page("/metrics").body
    assert g.counts()["responses"]["2xx"] > 0
    assert g.page("/json").json["balancers"][0]["backends"]
    assert b"<html" in g.page("/").body and g.page("/healthz").body == b"ok\n"


CASES = [each for each in list(globals().values())
         if callable(each) and each.__module__ == __name__ and "_" in each.__name__]
