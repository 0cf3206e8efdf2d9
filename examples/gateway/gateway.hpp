// SPDX-License-Identifier: MIT
#pragma once

// The whole: a service of poise as the file says, workers that serve clients, pages for operators.

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <poise/config/document.hpp>
#include <poise/config/network/parts.hpp>
#include <poise/config/service.hpp>
#include <poise/discovery/curl/registration.hpp>
#include <poise/discovery/curl/registration_named.hpp>
#include <poise/discovery/watcher.hpp>
#include <poise/status/server.hpp>

#include "access_log.hpp"
#include "listener.hpp"
#include "worker.hpp"

namespace gateway {

class Gateway {
 public:
  using Log = std::function<void(std::string const&)>;

  /// Serves as soon as it is made. *Errors* poise::ConfigError; std::system_error.
  Gateway(poise::config::Document const& document, Log log);
  Gateway(Gateway const&) = delete;
  Gateway& operator=(Gateway const&) = delete;
  ~Gateway();

  [[nodiscard]] std::string url() const { return listener_.url(); }
  /// Of the pages for operators; empty without them.
  [[nodiscard]] std::string admin_url() const { return admin_ ? admin_->url() : std::string{}; }

  /// All or nothing, and no request notices. *Threads* one at a time.
  poise::config::Reload reload(poise::config::Document document);

  /// Takes the entry in the registry back, if there is one. True if there was.
  bool leave_registry();
  /// Takes no new clients, and lets the others end their requests. Call finished() until it is
  /// true, then destroy it; what is left is cut off.
  void drain();
  [[nodiscard]] bool finished() const;
  [[nodiscard]] Duration drain_timeout() const;
  [[nodiscard]] Duration leave_delay() const;

 private:
  /// In a registry: with a thread of its own, which waits for the registry.
  struct Entry {
    Entry(poise::discovery::NamedEntry named, poise::discovery::Registration::Log log)
        : registration{watcher, named.url, std::move(named.entry), std::move(log)} {}
    poise::discovery::Watcher watcher{};
    poise::discovery::Registration registration;
  };

  [[nodiscard]] poise::config::Parts parts();
  [[nodiscard]] std::shared_ptr<Upstream> make_upstream(poise::Endpoint const& endpoint);
  [[nodiscard]] std::vector<std::unique_ptr<Worker>> make_workers();
  void forget(std::uint64_t upstream);
  void register_entry();
  void end_workers();

  poise::config::Settings settings_;  // as of the last reload
  Shared shared_{};
  Listener listener_;
  std::unique_ptr<AccessLog> access_log_;
  std::atomic<std::uint64_t> upstreams_{0};
  std::vector<std::unique_ptr<Worker>> workers_;
  poise::config::Network network_{};
  Service service_;
  std::unique_ptr<poise::status::Server> admin_{};
  std::unique_ptr<Entry> entry_{};
};

}  // namespace gateway
