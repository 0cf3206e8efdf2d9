// SPDX-License-Identifier: MIT
#pragma once

// From what a source said to a list that a balancer takes: sorted by id, ids unique, addresses
// usable, labels reduced to those that were asked for. What had to be left out is named.

#include <algorithm>
#include <cstddef>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <poise/base/address.hpp>
#include <poise/discovery/look.hpp>
#include <poise/endpoint.hpp>
#include <poise/error.hpp>

namespace poise::inline v0_1_0::discovery {

struct NormalizeOptions {
  /// Keys of labels that enter endpoints. Others are dropped: a backend whose labels change is a
  /// new backend, and a label such as the version would rebuild each pool at each deployment.
  std::vector<std::string> labels{};
  bool check_addresses = true;          ///< host:port, [ipv6]:port or unix:PATH; off: any text.
  std::size_t max_endpoints = 100'000;  ///< A longer list is a failure.
};

namespace detail {

constexpr std::size_t max_problems = 20;

inline void add_problem(std::vector<std::string>& problems, std::string text) {
  if (problems.size() < max_problems) problems.push_back(std::move(text));
  else if (problems.size() == max_problems) problems.emplace_back("... and more like these");
}

/// What is wrong with an address; empty if nothing is.
inline std::string_view address_error(std::string_view address) {
  for (char const letter : address)
    if (static_cast<unsigned char>(letter) <= 0x20U || letter == 0x7f)
      return "has a space or a control character in its address";
  if (address.starts_with("unix:")) return address.size() > 5 ? "" : "has no path after unix:";
  if (HostPort::of(address)) return {};
  return "is not host:port with a port from 1 to 65535 (IPv6 needs brackets: [::1]:80)";
}

inline bool sorted_by_id(std::vector<Endpoint> const& list) {
  return std::ranges::is_sorted(list, {}, &Endpoint::id);
}

/// Keeps the first of each id. *Requires* a sorted list.
inline void drop_duplicates(std::vector<Endpoint>& list, std::vector<std::string>& problems) {
  auto const end = std::unique(list.begin(), list.end(), [&](auto const& kept, auto const& other) {
    if (kept.id != other.id) return false;
    if (!(kept == other))
      add_problem(problems, "the id " + poise::detail::in_quotes(kept.id) +
                                " came twice, and differently: the first one is used");
    return true;
  });
  list.erase(end, list.end());
}

}  // namespace detail

/// *Errors* Failed, if the list is too long, or if it has entries and none of them can be used.
/// *Cost* O(n) for a list that is in order, else O(n log n).
[[nodiscard]] inline Look normalize(Found found, NormalizeOptions const& options = {}) {
  auto& list = found.endpoints;
  if (list.size() > options.max_endpoints)
    return Failed{std::to_string(list.size()) + " endpoints: the limit is " +
                  std::to_string(options.max_endpoints) + " (NormalizeOptions::max_endpoints)"};
  bool const was_empty = list.empty() && found.problems.empty();
  std::erase_if(list, [&](Endpoint& each) {
    if (each.id.empty()) each.id = each.address;
    auto const error = !options.check_addresses
                           ? std::string_view{each.id.empty() ? "is empty" : ""}
                           : detail::address_error(each.address);
    if (!error.empty())
      detail::add_problem(found.problems,
                          poise::detail::in_quotes(each.address) + " " + std::string{error});
    return !error.empty();
  });
  for (auto& each : list)
    if (!each.labels.empty())
      std::erase_if(each.labels, [&](Label const& label) {
        return std::ranges::find(options.labels, label.key) == options.labels.end();
      });
  if (!detail::sorted_by_id(list)) std::ranges::stable_sort(list, {}, &Endpoint::id);
  detail::drop_duplicates(list, found.problems);
  if (list.empty() && !was_empty)
    return Failed{"no entry can be used: " +
                  (found.problems.empty() ? "" : found.problems.front())};
  return found;
}

}  // namespace poise::inline v0_1_0::discovery
