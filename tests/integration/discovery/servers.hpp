// SPDX-License-Identifier: MIT
#pragma once

// Registries for a test: real ones in a scratch folder on loopback, and one that is scripted, for
// what real ones can't be made to say.

#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include <poise/discovery/curl/sources.hpp>

#include "integration/servers/program.hpp"

namespace tests {

using namespace std::chrono_literals;
using Moment = std::chrono::steady_clock::time_point;

/// Until it holds, for this time at most.
template <class Condition>
bool soon(Condition const& condition, std::chrono::milliseconds patience = 15s) {
  auto const end = std::chrono::steady_clock::now() + patience;
  do {
    if (condition()) return true;
    std::this_thread::sleep_for(2ms);
  } while (std::chrono::steady_clock::now() < end);
  return false;
}

/// One answer of a server to a POST or PUT; its body.
inline std::string ask(std::uint16_t port, std::string const& method, std::string const& target,
                       std::string const& body) {
  Connection connection{port};
  connection.send(method + " " + target + " HTTP/1.0\r\nHost: test\r\nContent-Length: " +
                  std::to_string(body.size()) + "\r\n\r\n" + body);
  std::string answer;
  try {
    for (;;) answer += connection.bytes(1);
  } catch (std::runtime_error const&) {
    auto const end = answer.find("\r\n\r\n");
    return end == std::string::npos ? answer : answer.substr(end + 4);
  }
}

/// etcd, one member.
class EtcdServer {
 public:
  EtcdServer() { start(); }
  void start() {
    auto const url = "http://127.0.0.1:" + std::to_string(port);
    auto const peer = "http://127.0.0.1:" + std::to_string(peer_port_);
    program_.emplace(std::vector<std::string>{"etcd",
                                              "--name",
                                              "t",
                                              "--data-dir",
                                              folder_.path() + "/data",
                                              "--listen-client-urls",
                                              url,
                                              "--advertise-client-urls",
                                              url,
                                              "--listen-peer-urls",
                                              peer,
                                              "--initial-advertise-peer-urls",
                                              peer,
                                              "--initial-cluster",
                                              "t=" + peer,
                                              "--unsafe-no-fsync",
                                              "--logger",
                                              "zap",
                                              "--log-level",
                                              "panic"},
                     port);
    if (!soon([&] { return ask(port, "GET", "/health", "").find("true") != std::string::npos; }))
      throw std::runtime_error{"etcd is not healthy"};
  }
  void kill() {
    program_->signal(SIGKILL);
    program_.reset();
  }
  void stop() { program_->signal(SIGSTOP); }
  void go_on() { program_->signal(SIGCONT); }
  /// Without its data, as a cluster that was made anew.
  void forget() const { std::filesystem::remove_all(folder_.path() + "/data"); }

  void put(std::string const& key, std::string const& value) const {
    ask(port, "POST", "/v3/kv/put",
        R"({"key":")" + base64(key) + R"(","value":")" + base64(value) + "\"}");
  }
  void remove(std::string const& key) const {
    ask(port, "POST", "/v3/kv/deleterange", R"({"key":")" + base64(key) + "\"}");
  }
  void remove_all() const {
    ask(port, "POST", "/v3/kv/deleterange", R"({"key":"AA==","range_end":"AA=="})");
  }
  void compact() const {
    auto const range = ask(port, "POST", "/v3/kv/range", R"({"key":"AA=="})");
    auto const at = range.find("\"revision\":\"") + 12;
    ask(port, "POST", "/v3/kv/compaction",
        R"({"revision":")" + range.substr(at, range.find('"', at) - at) + "\"}");
  }
  [[nodiscard]] std::string url() const { return "http://127.0.0.1:" + std::to_string(port); }

  std::uint16_t const port = free_port();

 private:
  static std::string base64(std::string const& text) {
    return poise::discovery::json::detail::base64(text);
  }

  std::uint16_t peer_port_ = free_port();
  Scratch folder_{};
  std::optional<Program> program_{};
};

/// Where Consul is: POISE_TEST_CONSUL, or in the path; nothing if it can't be had.
inline std::optional<std::string> consul_program() {
  if (auto const* const name = std::getenv("POISE_TEST_CONSUL"); name != nullptr) return name;
  for (auto const* each : {"/usr/bin/consul", "/usr/local/bin/consul"})
    if (std::filesystem::exists(each)) return each;
  return std::nullopt;
}

/// Consul in memory, one agent.
class ConsulServer {
 public:
  ConsulServer() { start(); }
  void start() {
    auto const port_of = [](std::uint16_t number) { return std::to_string(number); };
    auto const config =
        folder_.write("c.json", R"({"ports":{"dns":-1,"https":-1,"grpc":-1,"serf_wan":-1,"http":)" +
                                    port_of(port) + ",\"serf_lan\":" + port_of(free_port()) +
                                    ",\"server\":" + port_of(free_port()) +
                                    R"(},"performance":{"raft_multiplier":1}})");
    program_.emplace(
        std::vector<std::string>{*consul_program(), "agent", "-dev", "-node=n1", "-bind=127.0.0.1",
                                 "-client=127.0.0.1", "-config-file=" + config, "-log-level=err"},
        port);
    if (!soon([&] { return ask(port, "GET", "/v1/status/leader", "").size() > 4; }))
      throw std::runtime_error{"consul has no leader"};
  }
  void kill() {
    program_->signal(SIGKILL);
    program_.reset();
  }
  void add(std::string const& id, int service_port) const {
    ask(port, "PUT", "/v1/agent/service/register",
        R"({"ID":")" + id + R"(","Name":"web","Address":"127.0.0.1","Port":)" +
            std::to_string(service_port) + "}");
  }
  void remove(std::string const& id) const {
    ask(port, "PUT", "/v1/agent/service/deregister/" + id, "");
  }
  [[nodiscard]] std::string url() const { return "http://127.0.0.1:" + std::to_string(port); }

  std::uint16_t const port = free_port();

 private:
  Scratch folder_{};
  std::optional<Program> program_{};
};

/// An HTTP server that answers each request with bytes of the test's choice, and counts.
class ScriptedServer {
 public:
  /// Gets the request line; gives the bytes of the answer. Bytes that end with "\f" keep the
  /// connection open and silent after them.
  using Script = std::function<std::string(std::string const& request)>;

  explicit ScriptedServer(Script script) : script_{std::move(script)} {
    listener_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int const yes = 1;
    ::setsockopt(listener_, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons(port);
    if (::bind(listener_, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0 ||
        ::listen(listener_, 64) != 0)
      throw std::runtime_error{"the scripted server can't listen"};
    thread_ = std::thread{[this] { work(); }};
  }
  ScriptedServer(ScriptedServer const&) = delete;
  ScriptedServer& operator=(ScriptedServer const&) = delete;
  ~ScriptedServer() {
    ::shutdown(listener_, SHUT_RDWR);
    thread_.join();
    ::close(listener_);
    for (int const each : silent_) ::close(each);
  }
  [[nodiscard]] std::string url() const { return "http://127.0.0.1:" + std::to_string(port); }

  std::uint16_t const port = free_port();
  std::atomic<int> requests{0};

 private:
  void work() {
    for (;;) {
      int const client = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
      if (client < 0) return;
      serve(client);
    }
  }
  void serve(int client) {
    timeval const patience{.tv_sec = 1, .tv_usec = 0};  // a copy of it may be open elsewhere
    ::setsockopt(client, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    std::string request;
    char part[4096];
    while (request.find("\r\n\r\n") == std::string::npos) {
      auto const got = ::recv(client, part, sizeof part, 0);
      if (got <= 0) break;
      request.append(part, static_cast<std::size_t>(got));
      if (request[0] == 22) break;  // TLS
    }
    ++requests;
    auto answer = script_(request.substr(0, request.find("\r\n")));
    bool const silent = answer.ends_with('\f');
    if (silent) answer.pop_back();
    std::string_view rest{answer};
    while (!rest.empty()) {  // in pieces of an odd size
      auto const sent =
          ::send(client, rest.data(), std::min<std::size_t>(rest.size(), 4093), MSG_NOSIGNAL);
      if (sent <= 0) break;
      rest.remove_prefix(static_cast<std::size_t>(sent));
    }
    if (silent) silent_.push_back(client);
    else ::close(client);
  }

  Script script_;
  int listener_ = -1;
  std::vector<int> silent_{};
  std::thread thread_{};
};

inline std::string http_200(std::string const& body, std::string const& headers = {}) {
  return "HTTP/1.1 200 OK\r\nContent-Length: " + std::to_string(body.size()) + "\r\n" + headers +
         "Connection: close\r\n\r\n" + body;
}

}  // namespace tests
