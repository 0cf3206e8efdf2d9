// SPDX-License-Identifier: MIT
// A trace span per attempt, with the attribute names of OpenTelemetry's conventions for HTTP
// clients.
//
// Wrap the function that you give to call(): it runs once per attempt, and knows the backend and
// the number of the attempt. Recorder and Span stand in for a tracer of yours: write StartSpan(),
// SetAttribute() and End() of the OpenTelemetry SDK in their places.

#include <cstdint>
#include <exception>
#include <iostream>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <variant>
#include <vector>

#include <poise/poise.hpp>

namespace {

// -- in the place of OpenTelemetry

using Value = std::variant<std::int64_t, std::string>;

struct Span {
  std::string name{};
  std::vector<std::pair<std::string_view, Value>> attributes{};

  void set(std::string_view key, Value value) { attributes.emplace_back(key, std::move(value)); }
};

struct Recorder {
  std::vector<Span> spans{};

  void end(Span span) { spans.push_back(std::move(span)); }
};

std::ostream& operator<<(std::ostream& out, Span const& span) {
  out << span.name;
  for (auto const& [key, value] : span.attributes)
    std::visit([&](auto const& each) { out << ' ' << key << '=' << each; }, value);
  return out;
}

// -- a service

struct Reply {
  int status;
};
poise::Outcome outcome_of(Reply const& reply) { return poise::outcome_of_http(reply.status); }

/// `fn(backend)` for call(), with a span around each attempt.
template <class Fn>
auto traced(Recorder& recorder, std::string method, Fn fn) {
  return [&recorder, method = std::move(method), fn = std::move(fn)](
             auto& backend, poise::Request const& request) {
    Span span{method};
    auto const& address = backend.address();
    auto const colon = address.rfind(':');
    span.set("http.request.method", method);
    span.set("server.address", address.substr(0, colon));
    span.set("server.port", std::int64_t{std::stoi(address.substr(colon + 1))});
    if (request.attempt > 1) span.set("http.request.resend_count", request.attempt - 1);
    try {
      auto reply = fn(backend);
      span.set("http.response.status_code", reply.status);
      if (reply.status >= 400) span.set("error.type", std::to_string(reply.status));
      recorder.end(std::move(span));
      return reply;
    } catch (...) {
      auto const outcome = poise::outcome_of(std::current_exception());
      span.set("error.type", std::string{name(outcome.result)});
      recorder.end(std::move(span));
      throw;
    }
  };
}

}  // namespace

int main() {
  poise::Balancer<poise::Retry<poise::RoundRobin>> servers{
      poise::endpoints({"10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80"}), {{.attempts = 3}}};
  Recorder recorder;

  int attempt = 0;
  auto const fetch = [&](auto&) {
    if (++attempt == 1)
      throw std::system_error{std::make_error_code(std::errc::connection_refused)};
    return Reply{attempt == 2 ? 503 : 200};
  };
  auto const reply = servers.call(traced(recorder, "GET", fetch));

  for (auto const& span : recorder.spans) std::cout << span << '\n';
  return reply.status == 200 && recorder.spans.size() == 3 ? 0 : 1;
}
