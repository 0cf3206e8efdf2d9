"""Requests that two servers may read differently, or that are no requests: each is refused with its
status and its connection closed, and nothing of it reaches a backend."""

CL = "Content-Length"
TE = "Transfer-Encoding"


def request(*lines, body=""):
    return "\r\n".join(lines) + "\r\n\r\n" + body


def get(*fields, host="Host: x"):
    return request("GET /echo HTTP/1.1", *([host] if host else []), *fields)


def post(*fields, body=""):
    return request("POST /echo HTTP/1.1", "Host: x", *fields, body=body)


def chunked(body):
    return post(f"{TE}: chunked", body=body)


# name, status, bytes
REFUSED = [
    ("no Host", 400, get(host=None)),
    ("two Hosts", 400, get("Host: y")),
    ("two equal Hosts", 400, get("Host: x")),
    ("an empty Host", 400, get(host="Host:")),
    ("a Host with a path", 400, get(host="Host: x/y")),
    ("a Host with a user", 400, get(host="Host: u@x")),
    ("a Host with a blank", 400, get(host="Host: x y")),
    ("a Host with a list", 400, get(host="Host: x, y")),
    ("a Host with a bad port", 400, get(host="Host: x:8o")),
    ("a Host with an open bracket", 400, get(host="Host: [::1")),
    ("two Hosts with HTTP/1.0", 400, request("GET / HTTP/1.0", "Host: x", "Host: y")),
    ("a folded field", 400, get("X-A: 1\r\n 2")),
    ("a folded field by a tab", 400, get("X-A: 1\r\n\t2")),
    ("a folded first field", 400, request("GET / HTTP/1.1", " Host: x")),
    ("a folded Transfer-Encoding", 400,
     post(f"{TE}:\r\n chunked", body="0\r\n\r\n")),
    ("a bare LF after the request line", 400, "GET / HTTP/1.1\nHost: x\r\n\r\n"),
    ("a bare LF after a field", 400, "GET / HTTP/1.1\r\nHost: x\n\r\n"),
    ("bare LFs only", 400, "GET / HTTP/1.1\nHost: x\n\n"),
    ("a bare CR in a field", 400, get("X-A: 1\r2")),
    ("a NUL in a field", 400, get("X-A: 1\x002")),
    ("a NUL in the target", 400, request("GET /\x00 HTTP/1.1", "Host: x")),
    ("a space before the colon", 400, get("X-A : 1")),
    ("a space before the colon of Content-Length", 400, post(f"{CL} : 3", body="abc")),
    ("a tab before the colon of Transfer-Encoding", 400,
     post(f"{TE}\t: chunked", body="0\r\n\r\n")),
    ("a field without a colon", 400, get("X-A")),
    ("a field without a name", 400, get(": 1")),
    ("a name with a bracket", 400, get("X(A): 1")),
    ("Content-Length and chunked", 400,
     post(f"{CL}: 5", f"{TE}: chunked", body="0\r\n\r\n")),
    ("chunked and Content-Length", 400,
     post(f"{TE}: chunked", f"{CL}: 5", body="0\r\n\r\n")),
    ("Content-Length and another coding", 400, post(f"{CL}: 3", f"{TE}: x", body="abc")),
    ("two different lengths", 400, post(f"{CL}: 3", f"{CL}: 4", body="abcd")),
    ("two equal lengths", 400, post(f"{CL}: 3", f"{CL}: 3", body="abc")),
    ("a list of lengths", 400, post(f"{CL}: 3, 3", body="abc")),
    ("a length with a sign", 400, post(f"{CL}: +3", body="abc")),
    ("a negative length", 400, post(f"{CL}: -3", body="abc")),
    ("a hexadecimal length", 400, post(f"{CL}: 0x3", body="abc")),
    ("an empty length", 400, post(f"{CL}:", body="abc")),
    ("a length that overflows", 400, post(f"{CL}: 18446744073709551616", body="abc")),
    ("a length with a blank", 400, post(f"{CL}: 1 0", body="abc")),
    ("chunked twice", 400, post(f"{TE}: chunked", f"{TE}: chunked", body="0\r\n\r\n")),
    ("chunked, chunked", 501, post(f"{TE}: chunked, chunked", body="0\r\n\r\n")),
    ("identity", 501, post(f"{TE}: identity", body="abc")),
    ("gzip, chunked", 501, post(f"{TE}: gzip, chunked", body="0\r\n\r\n")),
    ("chunked with a vertical tab", 400, post(f"{TE}: \x0bchunked", body="0\r\n\r\n")),
    ("xchunked", 501, post(f"{TE}: xchunked", body="0\r\n\r\n")),
    ("chunked in quotes", 501, post(f'{TE}: "chunked"', body="0\r\n\r\n")),
    ("an empty Transfer-Encoding", 501, post(f"{TE}:", body="0\r\n\r\n")),
    ("chunked with HTTP/1.0", 400,
     request("POST / HTTP/1.0", "Host: x", f"{TE}: chunked", body="0\r\n\r\n")),
    ("a chunk with an extension", 400, chunked("3;a=b\r\nabc\r\n0\r\n\r\n")),
    ("a last chunk with an extension", 400, chunked("3\r\nabc\r\n0;a\r\n\r\n")),
    ("an extension with a bare LF", 400, chunked("3;a\nb\r\nabc\r\n0\r\n\r\n")),
    ("a quoted extension with a bare LF", 400, chunked('3;a="\n"\r\nabc\r\n0\r\n\r\n')),
    ("a chunk's size with a blank", 400, chunked("3 \r\nabc\r\n0\r\n\r\n")),
    ("a chunk's size with a prefix", 400, chunked("0x3\r\nabc\r\n0\r\n\r\n")),
    ("a chunk's size with a sign", 400, chunked("+3\r\nabc\r\n0\r\n\r\n")),
    ("a chunk without a size", 400, chunked("\r\nabc\r\n0\r\n\r\n")),
    ("a chunk's size that overflows", 400, chunked("fffffffffffffffff\r\nabc")),
    ("a chunk that is longer than its size", 400, chunked("3\r\nabcd\r\n0\r\n\r\n")),
    ("a chunk that ends in LF", 400, chunked("3\r\nabc\n0\r\n\r\n")),
    ("a chunk's size that ends in LF", 400, chunked("3\nabc\r\n0\r\n\r\n")),
    ("a trailer without a colon", 400, chunked("3\r\nabc\r\n0\r\nX\r\n\r\n")),
    ("a trailer of Content-Length", 400, chunked(f"3\r\nabc\r\n0\r\n{CL}: 3\r\n\r\n")),
    ("the absolute form", 400, request("GET http://x/echo HTTP/1.1", "Host: x")),
    ("the absolute form of another host", 400,
     request("GET http://y/echo HTTP/1.1", "Host: x")),
    ("a target without a slash", 400, request("GET echo HTTP/1.1", "Host: x")),
    ("a target with a fragment", 400, request("GET /echo#a HTTP/1.1", "Host: x")),
    ("an asterisk that is not for OPTIONS", 400, request("GET * HTTP/1.1", "Host: x")),
    ("two blanks in the request line", 400, request("GET  /echo HTTP/1.1", "Host: x")),
    ("a tab in the request line", 400, request("GET\t/echo HTTP/1.1", "Host: x")),
    ("a blank before the method", 400, request(" GET /echo HTTP/1.1", "Host: x")),
    ("a method with a bracket", 400, request("G(T /echo HTTP/1.1", "Host: x")),
    ("CONNECT", 405, request("CONNECT x:80 HTTP/1.1", "Host: x:80")),
    ("TRACE", 405, request("TRACE /echo HTTP/1.1", "Host: x")),
    ("HTTP/0.9", 400, "GET /echo\r\n\r\n"),
    ("HTTP/1.2", 505, request("GET /echo HTTP/1.2", "Host: x")),
    ("HTTP/2.0", 505, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    ("http/1.1 in small letters", 505, request("GET /echo http/1.1", "Host: x")),
    ("TLS", 400, "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n"),
    ("an expectation", 417, post("Expect: the-worst", f"{CL}: 3", body="abc")),
    ("X_Forwarded_For", 400, get("X_Forwarded_For: 1.2.3.4")),
    ("Content_Length", 400, get("Content_Length: 3")),
    ("a header that is too long", 431, get("X-A: " + "a" * 20000)),
    ("fields that are too long together", 431, get(*[f"X-{i}: a" for i in range(3000)])),
    ("too many fields", 431, get(*[f"X-{i}: a" for i in range(250)])),
    ("a target that is too long", 431, request("GET /" + "a" * 20000 + " HTTP/1.1", "Host: x")),
    ("a body that is too long", 413, post(f"{CL}: 2000000", body="")),
    ("a chunked body that is too long", 413, chunked("1e8480\r\n" + "a" * 1000)),
    ("a line of a chunk that has no end", 400, chunked("0" * 40000)),
]
