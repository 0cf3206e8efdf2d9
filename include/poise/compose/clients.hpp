// SPDX-License-Identifier: MIT
#pragma once

// The clients of a service, this one among them, as they come and go: what Subset and ZoneAware
// want to know of the others.
//
//   poise::Clients clients{"web-17"};
//   poise::Balancer<poise::Subset<poise::P2C>> servers{
//       endpoints, poise::Subset<poise::P2C>{{.size = 20, .live = clients}}};
//   if (clients.set(found)) servers.replan();   // discovery::clients_into() does it for a registry

#include <algorithm>
#include <cstddef>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include <poise/endpoint.hpp>
#include <poise/error.hpp>

namespace poise::inline v0_1_0 {

/// A handle: copies share one list. One without a name (`Clients{}`) knows nothing, and policies
/// use the numbers of their options.
/// *Threads* any. A pick never comes here: policies read it when they plan.
class Clients {
 public:
  /// The clients at one time.
  struct View {
    std::vector<std::string> ids{};         ///< Ascending; this client's own is among them.
    std::size_t self = 0;                   ///< The own one's position in `ids`.
    std::map<std::string, double> zones{};  ///< How many clients are in each zone.
    friend bool operator==(View const&, View const&) = default;
  };

  Clients() = default;
  /// *Errors* ConfigError: no id.
  explicit Clients(std::string self) : shared_{std::make_shared<Shared>()} {
    if (self.empty())
      throw ConfigError{
          "the id of this client is \"\": give the name under which it is registered, or what "
          "tells it from the others, a host's name and port say"};
    shared_->self = std::move(self);
  }

  /// Takes what a registry knows: ids and zones count, addresses and weights do not. This client is
  /// counted even if it is not (yet) in the list. Returns false if the clients are the same as
  /// before; if not, call replan() on the balancers that use them. *Cost* O(n log n).
  /// *Errors* ConfigError: this handle has no name.
  [[nodiscard("if true, call replan() on the balancers that use these clients")]] bool set(
      std::vector<Endpoint> const& found) {
    if (!shared_)
      throw ConfigError{
          "Clients{} has no list to set: give it this client's id, as in Clients{\"web-17\"}"};
    auto fresh = std::make_shared<View const>(view_of(shared_->self, found));
    std::scoped_lock const lock{shared_->lock};
    if (shared_->view && *shared_->view == *fresh) return false;
    shared_->view = std::move(fresh);
    return true;
  }

  /// The clients as they were set last; nullptr before the first time.
  [[nodiscard]] std::shared_ptr<View const> view() const {
    if (!shared_) return nullptr;
    std::scoped_lock const lock{shared_->lock};
    return shared_->view;
  }

 private:
  struct Shared {
    std::string self{};
    std::mutex lock{};
    std::shared_ptr<View const> view{};
  };

  static View view_of(std::string const& self, std::vector<Endpoint> const& found) {
    View view;
    view.ids.push_back(self);
    for (auto const& each : found) {
      auto const& id = each.id.empty() ? each.address : each.id;
      if (!id.empty()) view.ids.push_back(id);
      if (!each.zone.empty()) view.zones[each.zone] += 1;
    }
    std::sort(view.ids.begin(), view.ids.end());
    view.ids.erase(std::unique(view.ids.begin(), view.ids.end()), view.ids.end());
    auto const own = std::lower_bound(view.ids.begin(), view.ids.end(), self);
    view.self = static_cast<std::size_t>(own - view.ids.begin());
    return view;
  }

  std::shared_ptr<Shared> shared_{};
};

}  // namespace poise::inline v0_1_0
