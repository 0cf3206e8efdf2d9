// SPDX-License-Identifier: MIT
// Calls over libcurl that survive the end of a server: start three nginx, run this, kill one.

#include <chrono>

#include <poise/health/monitor.hpp>
#include <poise/poise.hpp>
#include <poise/ticker.hpp>

#include "curl.hpp"
#include "load.hpp"

namespace {

using namespace std::chrono_literals;

constexpr char const* help = R"(curl: GET / from HTTP servers, with retries, through libcurl

  curl 127.0.0.1:8001 127.0.0.1:8002 127.0.0.1:8003
  curl ADDRESS... --seconds 60        longer than the 10 s it takes

Kill a server, stop it (kill -STOP), bring it back: no call should fail.
)";

using Policy = poise::Retry<poise::PowerOfTwo<poise::PeakEwma>>;

}  // namespace

int main(int count, char** words) {
  auto const load = clients::load_from(count, words, help);
  poise::Balancer<Policy, void, poise::health::Monitored> servers{
      poise::endpoints(load.backends),
      Policy{{.attempts = 3, .timeout = 2s, .attempt_timeout = 300ms}}};
  poise::Ticker ticker;
  auto const watched = ticker.watch(servers);
  clients::Curl curl;

  auto const get = [&](auto& backend, poise::Request const& request) {
    auto const left = *request.deadline - poise::SteadyClock{}.now();
    return curl.get("http://" + backend.address() + "/", left);
  };
  bool const well = clients::run(load, 5ms, [&](poise::CallReport& report) {
    return outcome_of(servers.call(get, {.report = &report}));
  });
  clients::show(servers.stats());
  return well ? 0 : 1;
}
