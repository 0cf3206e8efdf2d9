// SPDX-License-Identifier: MIT
#pragma once

// Warnings of wrong use: each is an event once while it lasts.

#include <algorithm>
#include <cstdint>
#include <list>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include <poise/observer.hpp>

namespace poise::inline v0_1_0::detail {

/// `text` has numbers that change; `about` stays.
struct Warning {
  std::string about;
  std::string text;
};

[[nodiscard]] inline Warning retries_in_call_only(std::string const& policy, std::uint64_t picks) {
  return {"retry", policy + " retries in call() only, but all " + std::to_string(picks) +
                       " requests were picked by pick(): use call(), or leave the retry out"};
}

[[nodiscard]] inline Warning keys_are_missing(std::string const& policy, std::uint64_t picks) {
  return {"keys",
          policy + " spreads requests by their keys, but none of " + std::to_string(picks) +
              " requests had one: set Request::route_key or client_id, or take another policy"};
}

/// Warnings of others, such as probers. *Threads* any.
class StandingWarnings {
 public:
  /// In place of what was said about it before; an empty text takes that back.
  void set(std::string about, std::string text) {
    about.insert(0, "set: ");  // not what a backend or the balancer's own is about
    std::scoped_lock const lock{mutex_};
    std::erase_if(all_, [&](Warning const& each) { return each.about == about; });
    if (!text.empty()) all_.push_back({std::move(about), std::move(text)});
  }
  void add_to(std::vector<Warning>& warnings) {
    std::scoped_lock const lock{mutex_};
    warnings.insert(warnings.end(), all_.begin(), all_.end());
  }

 private:
  std::mutex mutex_;
  std::vector<Warning> all_{};
};

/// Which warnings were told. *Threads* any.
class ToldWarnings {
 public:
  /// The events of those that were not there the last time.
  [[nodiscard]] std::list<Event> news_of(std::vector<Warning> const& warnings) {
    std::list<Event> news;
    std::vector<std::string> present;
    std::scoped_lock const lock{mutex_};
    for (auto const& each : warnings) {
      if (std::ranges::find(told_, each.about) == told_.end())
        news.push_back({.kind = Event::Kind::warning, .id = {}, .warning = each.text});
      present.push_back(each.about);
    }
    told_ = std::move(present);
    return news;
  }

 private:
  std::mutex mutex_;
  std::vector<std::string> told_{};
};

/// For a balancer whose observers take no events.
struct TellsNoWarnings {};

}  // namespace poise::inline v0_1_0::detail
