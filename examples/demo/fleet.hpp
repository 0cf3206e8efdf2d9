// SPDX-License-Identifier: MIT
#pragma once

// All servers of one run, on a thread of their own.

#include <chrono>
#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

#include <asio/executor_work_guard.hpp>
#include <asio/io_context.hpp>
#include <poise/endpoint.hpp>

#include "background.hpp"
#include "scenario.hpp"
#include "server.hpp"

namespace demo {

class Fleet {
 public:
  explicit Fleet(Scenario const& scenario) {
    for (std::size_t i = 0; i < scenario.backends; ++i)
      servers_.push_back(std::make_unique<Server>(context_, service_time(i), scenario.seed + i));
    thread_.emplace(context_);
  }

  /// The servers as a configuration file or discovery would list them.
  [[nodiscard]] std::vector<poise::Endpoint> endpoints() const {
    std::vector<poise::Endpoint> endpoints;
    for (std::size_t i = 0; i < servers_.size(); ++i)
      endpoints.push_back({.id = name_of(i),
                           .address = "127.0.0.1:" + std::to_string(servers_[i]->port()),
                           .weight = weight_of(i)});
    return endpoints;
  }

  /// Returns when it has happened. A dead server's port may be taken for a moment, by a connection
  /// that the system started from it.
  void apply(Turn const& turn) {
    for (int tries_left = 100;; --tries_left) {
      try {
        return thread_->call([&] { servers_[turn.backend]->become(turn.mood); });
      } catch (std::system_error const&) {
        if (tries_left == 0) throw;
        std::this_thread::sleep_for(std::chrono::milliseconds{5});
      }
    }
  }

 private:
  asio::io_context context_;
  asio::executor_work_guard<asio::io_context::executor_type> keep_running_{context_.get_executor()};
  std::vector<std::unique_ptr<Server>> servers_;
  std::optional<Background> thread_;  // last: stopped before the servers go
};

}  // namespace demo
