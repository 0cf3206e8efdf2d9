// SPDX-License-Identifier: MIT
#pragma once

// A document written out in full: every field with its value and where that came from. It can be
// read again, and means the same.

#include <string>
#include <string_view>

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

[[nodiscard]] inline std::string backend_text(Document const& document, std::size_t number) {
  auto const& endpoint = document.settings.backends[number];
  auto const path = "backends." + std::to_string(number);
  std::string text{"\n[[backends]]\n"};
  for (auto const& each : backend_fields())
    text += line_of(each, endpoint, origin_of(document, path_of(path, each.key)));
  if (!endpoint.labels.empty())
    text +=
        "labels = " + labels_of(endpoint) + "  # " + origin_of(document, path + ".labels") + '\n';
  return text;
}

}  // namespace detail

/// As TOML. *Requires* a valid document.
[[nodiscard]] inline std::string effective(Document const& document) {
  std::string text;
  for (auto const& section : sections()) {
    if (!section.name.empty()) text += "\n[" + std::string{section.name} + "]\n";
    for (auto const& each : section.fields)
      text += detail::line_of(each, document.settings,
                              detail::origin_of(document, path_of(section.name, each.key)));
    if (!section.name.empty()) continue;
    for (std::size_t i = 0; i < document.settings.backends.size(); ++i)
      text += detail::backend_text(document, i);
  }
  return text;
}

}  // namespace poise::inline v0_1_0::config
