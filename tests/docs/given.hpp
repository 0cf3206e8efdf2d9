// SPDX-License-Identifier: MIT
#pragma once

// What the snippets of README.md and docs/ take for given: stand-ins that only have to compile.

#include <chrono>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <iostream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <poise/poise.hpp>
#include <poise/sticky.hpp>

namespace docs {

using namespace std::chrono_literals;

inline std::vector<poise::Endpoint> const endpoints =
    poise::endpoints({"10.0.0.1:80", "10.0.0.2:80"});
inline poise::Balancer<> servers{endpoints};
inline std::string const user = "user-17";
inline poise::Outcome const outcome{};

inline void log(std::string const& line) { std::cout << line << '\n'; }

struct Reply {
  int status = 200;
};
inline poise::Outcome outcome_of(Reply const& reply) {
  return poise::outcome_of_http(reply.status);
}

inline Reply fetch(std::string const&) { return {}; }
template <class Done>
  requires std::invocable<Done, Reply>
void fetch(std::string const&, Done done) {
  done(Reply{});
}
inline Reply fetch(std::string const&, poise::Time) { return {}; }
inline Reply fetch(std::string const&, poise::Duration) { return {}; }
inline Reply post(std::string const&) { return {}; }

/// A connection pool.
struct Pool {
  std::string address{};
  [[nodiscard]] Reply query(std::string_view) const { return {}; }
  void close_idle() {}
};
inline poise::Balancer<poise::P2C, Pool> pools{
    endpoints, [](poise::Endpoint const& endpoint) { return Pool{endpoint.address}; }};

inline std::vector<poise::Endpoint> from_discovery() { return endpoints; }

inline poise::hash::Secret const secret{1, 2};
inline std::string const cookie{};
inline void set_cookie(std::string const&) {}
inline std::uint64_t const position = 1;
inline std::uint64_t const last_write = 1;
struct Tenant {};
inline Tenant const tenant{};

inline void print(auto const&...) {}

}  // namespace docs
