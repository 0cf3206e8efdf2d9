// SPDX-License-Identifier: MIT
#pragma once

// What differs between two settings, field by field and backend by backend.

#include <algorithm>
#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include <poise/config/effective.hpp>
#include <poise/config/field.hpp>
#include <poise/config/fields.hpp>
#include <poise/config/settings.hpp>
#include <poise/endpoint.hpp>

namespace poise::inline v0_1_0::config {

/// One field that differs. For a backend that came or went `path` is "backends" and its id.
struct Difference {
  std::string path{};
  std::string before{};  ///< Empty: it was not there.
  std::string after{};   ///< Empty: it is no longer there.
  Effect effect = Effect::reload;
};

/// "health.interval: "10s" -> "5s" (at restart)"
[[nodiscard]] inline std::string message(Difference const& difference) {
  auto text = difference.path + ": " + (difference.before.empty() ? "-" : difference.before) +
              " -> " + (difference.after.empty() ? "-" : difference.after);
  return difference.effect == Effect::restart ? text + " (at restart)" : text;
}

namespace detail {

template <class Owner>
void add_differences(std::vector<Difference>& all, std::vector<Field<Owner>> const& fields,
                     std::string const& table, Owner const& before, Owner const& after) {
  for (auto const& each : fields) {
    auto const old = each.get(before);
    auto const fresh = each.get(after);
    if (old != fresh)
      all.push_back({path_of(table, each.key), written(each.kind, old), written(each.kind, fresh),
                     each.effect});
  }
}

inline void add_backend_differences(std::vector<Difference>& all,
                                    std::vector<Endpoint> const& before,
                                    std::vector<Endpoint> const& after) {
  auto const in = [](auto const& list, auto const& id) {
    return std::ranges::find(list, id, &Endpoint::id);
  };
  for (auto const& each : before) {
    auto const path = "backends." + each.id;
    auto const found = in(after, each.id);
    if (found == after.end()) {
      all.push_back({path, toml_text(each.address), {}});
      continue;
    }
    add_differences(all, backend_fields(), path, each, *found);
    if (each.labels != found->labels)
      all.push_back({path + ".labels", labels_of(each), labels_of(*found)});
  }
  for (auto const& each : after)
    if (in(before, each.id) == before.end())
      all.push_back({"backends." + each.id, {}, toml_text(each.address)});
}

/// Files that hold another secret than before. A policy that names another file differs by itself.
inline void add_secret_differences(std::vector<Difference>& all,
                                   std::map<std::string, std::uint64_t> const& before,
                                   std::map<std::string, std::uint64_t> const& after) {
  for (auto const& [path, mark] : after)
    if (auto const old = before.find(path); old != before.end() && old->second != mark)
      all.push_back({"policy.secret", "the old text of " + path, "its new text"});
}

}  // namespace detail

/// In the order of the reference, backends last.
/// *Cost* O(product of the numbers of backends).
[[nodiscard]] inline std::vector<Difference> differences(Settings const& before,
                                                         Settings const& after) {
  std::vector<Difference> all;
  for (auto const& section : sections())
    detail::add_differences(all, section.fields, std::string{section.name}, before, after);
  detail::add_secret_differences(all, before.policy_secrets, after.policy_secrets);
  detail::add_backend_differences(all, before.backends, after.backends);
  return all;
}

}  // namespace poise::inline v0_1_0::config
