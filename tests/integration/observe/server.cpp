// SPDX-License-Identifier: MIT
// The server of the pages, over real sockets: what it serves, and what it puts up with.

#include <poise/status/server.hpp>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <exception>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include <poise/analysis/pages.hpp>
#include <poise/observe/handler.hpp>
#include <poise/observe/meter.hpp>
#include <poise/observe/reader.hpp>
#include <poise/poise.hpp>

#include "integration/servers/program.hpp"
#include "support/catch.hpp"
#include "support/exposition.hpp"

namespace integration_observe_server {

namespace {

using namespace std::chrono_literals;
using namespace std::string_literals;
using namespace poise;
using observe::HttpRequest;
using observe::HttpResponse;
using tests::Connection;

observe::Handler handler() {
  observe::Handler made;
  made.add("/small", [](HttpRequest const&) { return HttpResponse{.body = "small\n"}; });
  made.add("/big", [](HttpRequest const&) {
    return HttpResponse{.body = std::string(std::size_t{64} << 20U, 'x')};
  });
  made.add("/stream", [](HttpRequest const&) {
    return HttpResponse{
        .type = "text/event-stream",
        .body = "first",
        .stream = observe::Stream{1ms, [left = 2]() mutable -> std::optional<std::string> {
                                    if (left == 0) return std::nullopt;
                                    return "next" + std::to_string(left--);
                                  }}};
  });
  return made;
}

struct Answer {
  std::string status;
  std::string body;
};

std::string get(std::string_view path, std::string_view host = "localhost") {
  return "GET " + std::string{path} + " HTTP/1.1\r\nHost: " + std::string{host} + "\r\n\r\n";
}

Answer read(Connection& connection) {
  Answer answer{connection.line(), {}};
  std::size_t length = 0;
  for (auto line = connection.line(); !line.empty(); line = connection.line())
    if (line.starts_with("Content-Length: ")) length = std::stoul(line.substr(16));
  answer.body = connection.bytes(length);
  return answer;
}
Answer ask(std::uint16_t port, std::string const& text) {
  Connection connection{port};
  connection.send(text);
  return read(connection);
}

/// Did the server close it without an answer?
bool is_closed(Connection& connection) {
  try {
    (void)connection.line();
  } catch (std::exception const&) {
    return true;
  }
  return false;
}

}  // namespace

TEST_CASE("a connection carries request after request", "[status]") {
  status::Server const server{handler()};
  Connection connection{server.port()};
  for (int i = 0; i < 3; ++i) {
    connection.send(get("/small"));
    auto const answer = read(connection);
    CHECK(answer.status == "HTTP/1.1 200 OK");
    CHECK(answer.body == "small\n");
  }
  CHECK(server.url() == "http://127.0.0.1:" + std::to_string(server.port()) + "/");
}

TEST_CASE("a HEAD gets no body", "[status]") {
  status::Server const server{handler()};
  Connection connection{server.port()};
  connection.send("HEAD /small HTTP/1.1\r\nHost: localhost\r\n\r\n");
  CHECK(connection.line() == "HTTP/1.1 200 OK");
  while (!connection.line().empty()) {
  }
  connection.send(get("/small"));
  CHECK(read(connection).body == "small\n");
}

TEST_CASE("a request for another host, method or page is refused", "[status]") {
  status::Server const server{handler()};
  CHECK(ask(server.port(), get("/small", "evil.example")).status.starts_with("HTTP/1.1 421"));
  CHECK(ask(server.port(), get("/small", "127.0.0.1:" + std::to_string(server.port()))).body ==
        "small\n");
  CHECK(ask(server.port(), "POST /small HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n")
            .status.starts_with("HTTP/1.1 405"));
  CHECK(ask(server.port(), get("/nothing")).status.starts_with("HTTP/1.1 404"));
  CHECK(ask(server.port(), "this is no HTTP\r\n\r\n").status.starts_with("HTTP/1.1 400"));
}

TEST_CASE("a body, or a megabyte of headers, is refused", "[status]") {
  status::Server const server{handler()};
  CHECK(ask(server.port(),
            "POST /small HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nhello")
            .status.starts_with("HTTP/1.1 4"));
  Connection connection{server.port()};
  try {
    connection.send("GET /small HTTP/1.1\r\nHost: localhost\r\n");
    for (int i = 0; i < 1000; ++i)
      connection.send("X-" + std::to_string(i) + ": " + std::string(1000, 'x') + "\r\n");
    connection.send("\r\n");
    CHECK(connection.line().starts_with("HTTP/1.1 431"));
  } catch (std::exception const&) {  // it closed the connection meanwhile
  }
  CHECK(ask(server.port(), get("/small")).body == "small\n");
}

TEST_CASE("picks are explained over a socket, by keys as long as the server allows", "[status]") {
  Balancer<Rendezvous> const servers{endpoints({"10.0.0.1:80", "10.0.0.2:80"})};
  observe::Handler pages;
  analysis::add_explanations(pages, servers);
  status::Server const server{pages, {.max_header = 2U << 20U}};
  auto const owner = servers.pick({.route_key = "a b"})->id();
  auto const answer = ask(server.port(), get("/explain?key=a%20b"));
  CHECK(answer.body.starts_with("rendezvous picks " + owner + " for the key \"a b\"\n"));
  CHECK(ask(server.port(), get("/why/10.0.0.1%3A80")).body == "10.0.0.1:80: eligible\n");
  auto const longest = get("/explain?key=" + std::string(1U << 20U, 'k'));
  CHECK(ask(server.port(), longest).status == "HTTP/1.1 200 OK");
  status::Server const usual{pages};
  Connection connection{usual.port()};
  try {
    connection.send(longest);
    CHECK(connection.line().starts_with("HTTP/1.1 431"));
  } catch (std::exception const&) {  // it closed the connection meanwhile
  }
  CHECK(ask(usual.port(), get("/explain")).status == "HTTP/1.1 200 OK");
}

TEST_CASE("half a request is closed when its time is over", "[status]") {
  status::Server const server{handler(), {.timeout = 100ms}};
  Connection half{server.port()};
  half.send("GET /small HT");
  Connection silent{server.port()};
  CHECK(is_closed(half));
  CHECK(is_closed(silent));
  CHECK(ask(server.port(), get("/small")).body == "small\n");
}

TEST_CASE("a client that never reads holds up nobody, and is let go", "[status]") {
  status::Server const server{handler(), {.max_connections = 2, .timeout = 200ms}};
  Connection deaf{server.port()};
  deaf.send(get("/big"));
  CHECK(ask(server.port(), get("/small")).body == "small\n");
  // Both places are free again in the end.
  for (int i = 0; i < 2; ++i) {
    std::optional<std::string> body;
    for (int tries = 0; body != "small\n" && tries < 500; ++tries) try {
        Connection held{server.port()};
        held.send(get("/small"));
        Connection other{server.port()};
        other.send(get("/small"));
        (void)read(held);
        body = read(other).body;
      } catch (std::exception const&) {
        std::this_thread::sleep_for(10ms);
      }
    CHECK(body == "small\n");
  }
}

TEST_CASE("with all connections taken the one that was silent the longest makes room", "[status]") {
  status::Server const server{handler(), {.max_connections = 3}};
  std::vector<std::unique_ptr<Connection>> held;
  for (int i = 0; i < 4; ++i) {
    held.push_back(std::make_unique<Connection>(server.port()));
    held.back()->send(get("/small"));
    CHECK(read(*held.back()).body == "small\n");
  }
  CHECK(is_closed(*held[0]));
  held.erase(held.begin());
  for (auto const& each : held) {
    each->send(get("/small"));
    CHECK(read(*each).body == "small\n");
  }
}

TEST_CASE("two hundred that send half a request keep nobody out", "[status]") {
  status::Server const server{handler()};
  std::vector<std::unique_ptr<Connection>> slow;
  for (int i = 0; i < 200; ++i) {
    slow.push_back(std::make_unique<Connection>(server.port()));
    slow.back()->send("GET /small HT");
    if (i % 20 == 0) CHECK(ask(server.port(), get("/small")).body == "small\n");
  }
}

TEST_CASE("streams leave room for others, and one too many is told so", "[status]") {
  observe::Handler made = handler();
  made.add("/endless", [](HttpRequest const&) {
    return HttpResponse{.body = "begun",
                        .stream = observe::Stream{1h, [] { return std::optional{"more"s}; }}};
  });
  status::Server const server{std::move(made), {.max_connections = 3, .max_streams = 2}};
  std::vector<std::unique_ptr<Connection>> viewers;
  for (int i = 0; i < 2; ++i) {
    viewers.push_back(std::make_unique<Connection>(server.port()));
    viewers.back()->send(get("/endless"));
    CHECK(viewers.back()->line() == "HTTP/1.1 200 OK");
  }
  CHECK(ask(server.port(), get("/endless")).status == "HTTP/1.1 503 Service Unavailable");
  CHECK(ask(server.port(), get("/small")).body == "small\n");
}

TEST_CASE("without a connection left the next is told so", "[status]") {
  status::Server const server{handler(), {.max_connections = 1, .max_streams = 1}};
  Connection viewer{server.port()};
  viewer.send("GET /stream HTTP/1.0\r\n\r\n");
  CHECK(viewer.line() == "HTTP/1.1 200 OK");
  Connection deaf{server.port()};  // in the place of the viewer, once it has ended
  deaf.send(get("/big"));
  (void)deaf.line();
  CHECK(ask(server.port(), get("/small")).status == "HTTP/1.1 503 Service Unavailable");
}

TEST_CASE("a client of HTTP/1.0 needs no host, and gets a stream without chunks", "[status]") {
  status::Server const server{handler()};
  CHECK(ask(server.port(), "GET /small HTTP/1.0\r\n\r\n").body == "small\n");
  CHECK(ask(server.port(), "GET /small HTTP/1.0\r\nHost: evil.example\r\n\r\n")
            .status.starts_with("HTTP/1.1 421"));
  Connection connection{server.port()};
  connection.send("GET /stream HTTP/1.0\r\n\r\n");
  std::string text;
  try {
    for (;;) text += connection.bytes(1);
  } catch (std::exception const&) {  // its end
  }
  CHECK(text.find("Transfer-Encoding") == std::string::npos);
  CHECK(text.ends_with("\r\n\r\nfirstnext2next1"));
}

TEST_CASE("the absolute form names its host, and two hosts are refused", "[status]") {
  status::Server const server{handler()};
  CHECK(ask(server.port(), get("http://localhost:1/small?x")).body == "small\n");
  CHECK(ask(server.port(), get("http://localhost/small", "evil.example")).body == "small\n");
  CHECK(ask(server.port(), get("http://evil.example/small")).status.starts_with("HTTP/1.1 421"));
  CHECK(ask(server.port(), get("http://localhost")).status.starts_with("HTTP/1.1 404"));
  CHECK(ask(server.port(), "GET /small HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n")
            .status.starts_with("HTTP/1.1 400"));
}

TEST_CASE("a stream goes on until its source ends", "[status]") {
  status::Server const server{handler()};
  Connection connection{server.port()};
  connection.send(get("/stream"));
  std::string text;
  try {
    for (;;) text += connection.line() + '\n';
  } catch (std::exception const&) {  // its end
  }
  CHECK(text.find("Transfer-Encoding: chunked") != std::string::npos);
  CHECK(text.find("text/event-stream") != std::string::npos);
  CHECK(text.find("5\nfirst\n5\nnext2\n5\nnext1\n0\n") != std::string::npos);
}

TEST_CASE("a viewer that never reads is dropped, and its stream with it", "[status]") {
  auto const alive = std::make_shared<int>();
  std::weak_ptr<int> const watched{alive};
  observe::Handler made = handler();
  made.add("/endless", [held = std::weak_ptr{alive}](HttpRequest const&) {
    return HttpResponse{.stream = observe::Stream{1ms, [held = held.lock()] {
                                                    return std::optional{std::string(100'000, 'x')};
                                                  }}};
  });
  status::Server const server{std::move(made), {.timeout = 200ms}};
  Connection deaf{server.port()};
  deaf.send(get("/endless"));
  auto const streams = [&] { return watched.use_count() - 1; };
  for (int tries = 0; streams() == 0 && tries < 1000; ++tries) std::this_thread::sleep_for(10ms);
  REQUIRE(streams() == 1);
  for (int tries = 0; streams() != 0 && tries < 1000; ++tries) std::this_thread::sleep_for(10ms);
  CHECK(streams() == 0);
  CHECK(ask(server.port(), get("/small")).body == "small\n");
}

TEST_CASE("a handler's tasks run again and again, also after one throws", "[status]") {
  std::atomic<int> runs{0};
  observe::Handler made = handler();
  made.every(1ms, [&] {
    if (++runs % 2 == 0) throw std::runtime_error{"this time not"};
  });
  {
    status::Server const server{std::move(made)};
    for (int tries = 0; runs < 5 && tries < 1000; ++tries) std::this_thread::sleep_for(10ms);
  }
  CHECK(runs >= 5);
}

TEST_CASE("an address that can't be listened on is refused in words", "[status]") {
  CHECK_THROWS_WITH((status::Server{handler(), {.address = "localhost"}}),
                    Catch::Contains("\"localhost\"") && Catch::Contains("IP address"));
  status::Server const server{handler()};
  CHECK_THROWS_WITH((status::Server{handler(), {.port = server.port()}}),
                    Catch::Contains("can't listen on 127.0.0.1:"));
}

TEST_CASE("pages are scraped while backends change, and after their balancer's end", "[status]") {
  using R = Runtime<SteadyClock, observe::Meter<>>;
  std::optional<Balancer<RoundRobin, void, R>> servers{std::in_place, endpoints({"a", "b"})};
  observe::Handler made;
  observe::add_metrics(made, {.readers = {std::make_shared<observe::Reader>("x", *servers)}});
  status::Server const server{std::move(made)};
  std::string complaints;
  for (int i = 0; i < 100; ++i) {
    servers->pick().finish();
    auto all = endpoints({"a", "b"});
    all[0].zone = std::to_string(i);
    servers->update(std::move(all));
    complaints += tests::Exposition{ask(server.port(), get("/metrics")).body}.complaints();
  }
  CHECK(complaints.empty());
  servers.reset();
  auto const text = ask(server.port(), get("/metrics")).body;
  CHECK(tests::Exposition{text}.samples().at(
            R"(poise_requests_total{balancer="x",outcome="success"})") == 100);
}

}  // namespace integration_observe_server
