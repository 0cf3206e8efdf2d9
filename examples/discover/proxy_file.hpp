// SPDX-License-Identifier: MIT
#pragma once

// discover --write: keeps a file of nginx's or HAProxy's as the list says, and has it read again.

#include <chrono>
#include <cstdlib>
#include <iostream>
#include <string>
#include <utility>
#include <vector>

#include <poise/discovery/feed.hpp>
#include <poise/discovery/files.hpp>
#include <poise/discovery/haproxy.hpp>
#include <poise/discovery/nginx.hpp>
#include <poise/discovery/source.hpp>
#include <poise/endpoint.hpp>
#include <poise/time.hpp>

#include "options.hpp"

namespace discover {

/// Writes only what changed, at most once a second: each reload of a proxy costs it processes.
class ProxyFile {
 public:
  ProxyFile(ProxyTarget target, std::string command)
      : target_{std::move(target)}, command_{std::move(command)} {
    auto const now = poise::discovery::detail::read_file(target_.path, std::size_t{16} << 20U);
    written_ = now.text;
  }

  /// Takes lists. A server that the proxy could not read keeps the file as it is.
  [[nodiscard]] poise::discovery::Sink sink() {
    return [this](std::vector<poise::Endpoint> const& endpoints) { wanted_ = text_of(endpoints); };
  }
  /// Writes, if there is something to write and it is time. False if that failed.
  bool write(poise::Time now) {
    if (wanted_.empty() || wanted_ == written_ || now < next_) return true;
    next_ = now + std::chrono::seconds{1};
    auto const error = poise::discovery::detail::replace_file(target_.path, wanted_);
    if (!error.empty()) {
      std::cerr << "discover: " << error << "; next try in 1 s\n";
      return false;
    }
    written_ = wanted_;
    if (command_.empty()) return true;
    int const status = std::system(command_.c_str());  // NOLINT(cert-env33-c): the operator's own
    if (status != 0)
      std::cerr << "discover: \"" << command_ << "\" failed (" << status << "); " << target_.path
                << " has the new list\n";
    return status == 0;
  }
  void add_waits(poise::discovery::Waits& waits) const {
    if (!wanted_.empty() && wanted_ != written_) waits.add(next_);
  }

 private:
  [[nodiscard]] std::string text_of(std::vector<poise::Endpoint> const& endpoints) const {
    namespace discovery = poise::discovery;
    std::string const head = "# Written by discover: changes made here are lost.\n";
    if (target_.kind == ProxyTarget::Kind::nginx)
      return head + discovery::to_nginx(target_.name, endpoints, target_.policy);
    return head + discovery::to_haproxy(target_.name, endpoints, target_.policy);
  }

  ProxyTarget target_;
  std::string command_;
  std::string wanted_{};
  std::string written_{};
  poise::Time next_ = poise::Time::min();
};

}  // namespace discover
