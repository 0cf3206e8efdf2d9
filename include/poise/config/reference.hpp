// SPDX-License-Identifier: MIT
#pragma once

// The fields for people: all of them as Markdown, or one of them.

#include <string>
#include <string_view>
#include <vector>

#include <poise/base/nearest.hpp>
#include <poise/config/field.hpp>
#include <poise/config/fields.hpp>
#include <poise/config/settings.hpp>
#include <poise/endpoint.hpp>
#include <poise/error.hpp>

namespace poise::inline v0_1_0::config {

namespace detail {

/// An item of a Markdown list, in lines of at most 120 columns.
[[nodiscard]] inline std::string wrapped(std::string_view text) {
  constexpr std::size_t width = 120;
  std::string result;
  std::size_t column = 0;
  while (!text.empty()) {
    auto const word = text.substr(0, text.find(' '));
    text.remove_prefix(std::min(text.size(), word.size() + 1));
    if (column != 0 && column + 1 + word.size() > width) {
      result += "\n ";
      column = 1;
    }
    if (column != 0) {
      result += ' ';
      ++column;
    }
    result += word;
    column += word.size();
  }
  return result + '\n';
}

template <class Owner>
[[nodiscard]] std::string reference_of(std::vector<Field<Owner>> const& fields,
                                       Owner const& defaults) {
  std::string text;
  for (auto const& each : fields)
    text += wrapped(
        "- `" + std::string{each.key} + " = " + written(each.kind, each.get(defaults)) +
        "`: " + std::string{each.doc} +
        (each.kind == Kind::text ? "" : " Takes " + allowed(each.kind, each.range, false) + "."));
  return text + '\n';
}

template <class Owner>
[[nodiscard]] std::string explanation_of(std::string const& path, Field<Owner> const& field,
                                         Owner const& defaults) {
  return path + ": " + std::string{field.doc} + "\n  takes " + allowed(field.kind, field.range) +
         "\n  default " + written(field.kind, field.get(defaults)) + "\n  a change takes effect " +
         (field.effect == Effect::reload ? "at a reload" : "at a restart") + '\n';
}

}  // namespace detail

/// Every field with its default, what it takes and what it means.
[[nodiscard]] inline std::string reference() {
  std::string text;
  for (auto const& section : sections()) {
    text += section.name.empty() ? "### At the top\n\n"
                                 : "### `[" + std::string{section.name} + "]`\n\n";
    if (!section.doc.empty()) text += detail::wrapped(section.doc) + '\n';
    text += detail::reference_of(section.fields, Settings{});
    if (!section.name.empty()) continue;
    text += "### `[[backends]]`\n\n";
    text += detail::reference_of(backend_fields(), Endpoint{});
    text.pop_back();
    text += "- `labels = {}`: Anything else, for filters. Takes a table of texts.\n\n";
  }
  text.pop_back();
  return text;
}

/// A key such as "probe.timeout" or "backends.weight" for people.
/// *Errors* ConfigError: there is none; says which are near.
[[nodiscard]] inline std::string explanation(std::string_view key) {
  std::vector<std::string> paths;
  for (auto const& section : sections())
    for (auto const& each : section.fields) {
      auto const path = path_of(section.name, each.key);
      if (path == key) return detail::explanation_of(path, each, Settings{});
      paths.push_back(path);
    }
  for (auto const& each : backend_fields()) {
    auto const path = path_of("backends", each.key);
    if (path == key) return detail::explanation_of(path, each, Endpoint{});
    paths.push_back(path);
  }
  auto const near = poise::detail::nearest(key, {paths.begin(), paths.end()});
  throw ConfigError{"there is no field " + poise::detail::in_quotes(key) +
                    (near.empty() ? "; the reference lists them, such as probe.interval"
                                  : "; did you mean " + std::string{near} + "?")};
}

}  // namespace poise::inline v0_1_0::config
