// SPDX-License-Identifier: MIT
#pragma once

// What a service needs of the network: registries by libcurl, probes by Asio, pages by Boost.Beast.
//
//   poise::config::Network network;
//   poise::config::Service service{poise::config::read_file("web.toml"), network.parts()};
//
// Where Boost.Beast is not installed, this header is empty.

#if __has_include(<boost/beast/http.hpp>)

#include <memory>
#include <string>
#include <thread>
#include <utility>

#include <asio/executor_work_guard.hpp>
#include <asio/io_context.hpp>

#include <poise/asio/probe.hpp>
#include <poise/asio/prober.hpp>
#include <poise/base/address.hpp>
#include <poise/config/parts.hpp>
#include <poise/config/settings.hpp>
#include <poise/discovery/credentials.hpp>
#include <poise/discovery/curl/source_named.hpp>
#include <poise/error.hpp>
#include <poise/health/monitor.hpp>
#include <poise/observe/handler.hpp>
#include <poise/status/server.hpp>

namespace poise::inline v0_1_0::config {

/// One thread for the probes of all services. *Requires* that it outlives them.
class Network {
 public:
  Network() : thread_{[this] { context_.run(); }} {}
  Network(Network const&) = delete;
  Network& operator=(Network const&) = delete;
  ~Network() {
    keep_running_.reset();
    context_.stop();
    thread_.join();
  }

  /// What a service of this program can do. Set `log` to hear of it.
  [[nodiscard]] Parts parts() {
    return {.source =
                [](std::string const& text, discovery::Credentials const& credentials) {
                  return discovery::source_named(text, "poise", credentials);
                },
            .probes = [this](ProbeTarget const& target, health::Standard const& monitor,
                             ProbeSettings const& settings) -> std::shared_ptr<void> {
              return std::make_shared<Probes>(context_, target, monitor, settings);
            },
            .pages = [](observe::Handler handler, MetricsSettings const& settings)
                -> std::shared_ptr<void> { return serve(std::move(handler), settings); }};
  }

 private:
  /// A prober, and the balancer as it sees it.
  struct Probes {
    Probes(::asio::io_context& context, ProbeTarget with, health::Standard const& monitor,
           ProbeSettings const& settings)
        : target{std::move(with)},
          prober{context.get_executor(), target, monitor, probe_of(settings), settings.options} {}
    ProbeTarget target;
    asio::Prober prober;
  };

  static asio::StartProbe probe_of(ProbeSettings const& settings) {
    if (settings.kind == ProbeKind::tcp) return asio::TcpProbe{};
    return asio::HttpProbe{settings.path};
  }

  static std::shared_ptr<status::Server> serve(observe::Handler handler,
                                               MetricsSettings const& settings) {
    auto const at = HostPort::of(settings.listen);
    if (!at) throw ConfigError{"metrics.listen is no HOST:PORT"};
    return std::make_shared<status::Server>(
        std::move(handler), status::ServerOptions{.address = at->host, .port = at->port});
  }

  ::asio::io_context context_{1};
  ::asio::executor_work_guard<::asio::io_context::executor_type> keep_running_{
      context_.get_executor()};
  std::thread thread_;
};

}  // namespace poise::inline v0_1_0::config

#endif
