// SPDX-License-Identifier: MIT
#pragma once

// A document written out in full: every field with its value and where that came from. It can be
// read again, and means the same.

#include <string>
#include <string_view>
#include <vector>

#include <poise/config/document.hpp>
#include <poise/config/field.hpp>
#include <poise/config/fields.hpp>
#include <poise/config/quantity.hpp>
#include <poise/endpoint.hpp>

namespace poise::inline v0_1_0::config {

namespace detail {

/// "line 12", or "default".
[[nodiscard]] inline std::string origin_of(Document const& document, std::string_view path) {
  auto const found = document.origins.find(path);
  return found == document.origins.end() ? "default" : "line " + std::to_string(found->second.line);
}

template <class Owner>
[[nodiscard]] std::string line_of(Field<Owner> const& field, Owner const& owner,
                                  std::string const& origin) {
  return std::string{field.key} + " = " + written(field.kind, field.get(owner)) + "  # " + origin +
         '\n';
}

[[nodiscard]] inline std::string labels_of(Endpoint const& endpoint) {
  std::string text;
  for (auto const& each : endpoint.labels)
    text += (text.empty() ? "" : ", ") + toml_text(each.key) + " = " + toml_text(each.value);
  return "{" + text + "}";
}

/// The lines of some fields: of all, or of those that the file gives.
template <class Owner>
[[nodiscard]] std::string lines_of(std::vector<Field<Owner>> const& fields, Owner const& owner,
                                   Document const& document, std::string const& table,
                                   bool only_given) {
  std::string text;
  for (auto const& each : fields) {
    auto const path = path_of(table, each.key);
    if (!only_given || document.origins.contains(path))
      text += line_of(each, owner, origin_of(document, path));
  }
  return text;
}

[[nodiscard]] inline std::string backend_text(Document const& document, std::size_t number,
                                              bool only_given) {
  auto const& endpoint = document.settings.backends[number];
  auto const path = "backends." + std::to_string(number);
  auto text = "\n[[backends]]\n" + lines_of(backend_fields(), endpoint, document, path, only_given);
  if (!endpoint.labels.empty())
    text +=
        "labels = " + labels_of(endpoint) + "  # " + origin_of(document, path + ".labels") + '\n';
  return text;
}

[[nodiscard]] inline std::string dump(Document const& document, bool only_given) {
  std::string text;
  for (auto const& section : sections()) {
    auto const name = std::string{section.name};
    auto const lines = lines_of(section.fields, document.settings, document, name, only_given);
    if (!name.empty() && !(only_given && lines.empty())) text += "\n[" + name + "]\n";
    text += lines;
    if (!name.empty()) continue;
    for (std::size_t i = 0; i < document.settings.backends.size(); ++i)
      text += backend_text(document, i, only_given);
  }
  return text;
}

}  // namespace detail

/// As TOML. *Requires* a valid document.
[[nodiscard]] inline std::string effective(Document const& document) {
  return detail::dump(document, false);
}

/// The same without what has its default.
[[nodiscard]] inline std::string given(Document const& document) {
  return detail::dump(document, true);
}

}  // namespace poise::inline v0_1_0::config
