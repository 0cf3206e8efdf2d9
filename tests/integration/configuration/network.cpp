// SPDX-License-Identifier: MIT
// A service with registries, probes and pages over real sockets.

#include <string>

#include <asio/io_context.hpp>
#include <asio/ip/tcp.hpp>
#include <poise/config/network/parts.hpp>
#include <poise/config/service.hpp>
#include <poise/config/text.hpp>
#include <poise/health/phase.hpp>

#include "integration/configuration/support.hpp"

namespace integration_configuration_network {

namespace {

using namespace poise::config;
using tests::comes;
using tests::configuration;

/// A port on loopback that was free a moment ago.
std::string free_address() {
  asio::io_context context;
  asio::ip::tcp::acceptor const acceptor{context, {asio::ip::make_address("127.0.0.1"), 0}};
  return "127.0.0.1:" + std::to_string(acceptor.local_endpoint().port());
}

}  // namespace

TEST_CASE("probes eject the backend that refuses, and leave the one that serves pages") {
  auto const pages = free_address();
  auto const closed = free_address();
  for (std::string const kind : {"tcp", "http"}) {
    INFO(kind);
    Network network;
    Service<> service{
        configuration("[[backends]]\naddress = \"" + pages + "\"\n[[backends]]\naddress = \"" +
                      closed + "\"\n[metrics]\nlisten = \"" + pages + "\"\n[probe]\nkind = \"" +
                      kind +
                      "\"\npath = \"/healthz\"\ninterval = \"200ms\"\n"
                      "timeout = \"150ms\"\ndoubt_interval = \"20ms\"\n"),
        network.parts()};
    auto const phase = [&](std::string const& id) { return service.monitor().phase(id); };
    REQUIRE(comes([&] { return phase(closed) == poise::health::Phase::ejected; }));
    REQUIRE(phase(pages) != poise::health::Phase::ejected);
  }
}

TEST_CASE("a port that is in use refuses the reload, and the old one goes on") {
  auto const used = free_address();
  auto const other = free_address();
  Network network;
  auto const with = [](std::string const& listen) {
    return configuration("[[backends]]\naddress = \"a:1\"\n[metrics]\nlisten = \"" + listen + '"');
  };
  Service<> const first{with(used), network.parts()};
  Service<> second{with(other), network.parts()};
  auto const refused = second.reload(with(used));
  REQUIRE(refused.problems.at(0).text.starts_with("can't listen on " + used + ": "));
  REQUIRE(second.document().settings.metrics.listen == other);
  REQUIRE(second.reload(with(free_address())).done());
}

TEST_CASE("a source that only network parts know is built, and a wrong one is refused") {
  Network network;
  Service<> service{configuration("source = \"consul:http://127.0.0.1:1/web\""), network.parts()};
  REQUIRE(service.source_status().size() == 1);
  auto const refused = service.reload(configuration("source = \"k8s:nonsense\""));
  REQUIRE(refused.problems.at(0).text == "k8s:nonsense: URL/NAMESPACE/SERVICE is wanted");
  REQUIRE(refused.problems.at(0).at == Position{1, 10});
}

}  // namespace integration_configuration_network
