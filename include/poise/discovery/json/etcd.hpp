// SPDX-License-Identifier: MIT
#pragma once

// etcd v3 through its JSON gateway: one read of a prefix, then a watch from the revision after it.
//
// A value is host:port with facts (discovery/lines.hpp), a JSON object of poise's own
// (json/endpoints.hpp), or that of gRPC's endpoint manager ({"Addr": ...}). A watch that was
// cancelled, by compaction say, reads again: etcd leaves such a stream open and silent.

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

#include <poise/base/base64.hpp>
#include <poise/discovery/json/conversation.hpp>
#include <poise/discovery/json/endpoints.hpp>
#include <poise/discovery/json/reader.hpp>
#include <poise/discovery/lines.hpp>
#include <poise/discovery/look.hpp>

namespace poise::inline v0_1_0::discovery::json {

struct EtcdOptions {
  std::string user{};                       ///< Empty: no authentication.
  std::function<std::string()> password{};  ///< Called for each full look.
};

namespace detail {

using poise::detail::base64;

inline std::string from_base64(std::string_view text) {
  auto bytes = poise::detail::from_base64(text);
  if (!bytes) throw JsonError{"a key or value is no base64: " + poise::detail::in_quotes(text)};
  return std::move(*bytes);
}

/// The end of all keys that begin with this one: its last byte that can be raised is.
inline std::string prefix_end(std::string prefix) {
  while (!prefix.empty()) {
    auto& last = prefix.back();
    if (static_cast<unsigned char>(last) != 0xffU) {
      last = static_cast<char>(last + 1);
      return prefix;
    }
    prefix.pop_back();
  }
  return std::string(1, '\0');
}

/// An endpoint from the value of a key. *Errors* JsonError.
inline Endpoint etcd_endpoint(std::string const& value) {
  Endpoint endpoint;
  if (value.starts_with('{')) {
    auto json = parse(value);
    if (find(json, "address") == nullptr && find(json, "Addr") != nullptr)
      json["address"] = json["Addr"];
    endpoint = to_endpoint(json);
  } else {
    std::string error;
    auto parsed = parse_line(value, error);
    if (!parsed) throw JsonError{error.empty() ? "is empty" : error};
    endpoint = std::move(*parsed);
  }
  return endpoint;
}

}  // namespace detail

class Etcd final : public Conversation {
 public:
  /// All keys that begin with `prefix` are endpoints.
  explicit Etcd(std::string prefix, EtcdOptions options = {})
      : prefix_{std::move(prefix)}, options_{std::move(options)} {}

  [[nodiscard]] std::string name() const override { return "etcd " + prefix_; }
  [[nodiscard]] Request begin() override {
    if (options_.user.empty()) return read();
    state_ = State::authenticating;
    Json const body{{"name", options_.user},
                    {"password", options_.password ? options_.password() : std::string{}}};
    return {.method = "POST", .target = "/v3/auth/authenticate", .body = body.dump()};
  }
  [[nodiscard]] Step on_answer(Answer const& answer) override {
    if (answer.status != 200) return {failure(answer), {}};
    if (state_ == State::watching) return {};  // the stream ended
    return guarded([&]() -> Step {
      auto const json = parse(answer.body);
      if (state_ == State::authenticating) {
        token_ = text_at(json, "token");
        return {{}, read()};
      }
      take_range(json);
      return {list(), watch()};
    });
  }
  [[nodiscard]] Step on_line(std::string_view line) override {
    return guarded([&]() -> Step {
      auto const json = parse(line);
      if (find(json, "error") != nullptr) throw JsonError{wrong("the watch's end", json, "failed")};
      auto const* const result = find(json, "result");
      if (result == nullptr) return {};
      if (auto const* const canceled = find(*result, "canceled");
          canceled != nullptr && canceled->is_boolean() && canceled->get<bool>())
        return end_watch(*result);
      bool const changed = take_events(*result);
      fruitful_ = fruitful_ || changed;
      return {.changed = changed};
    });
  }
  [[nodiscard]] Found list() const override {
    Found found{.version = std::to_string(revision_), .watched = true};
    found.endpoints.reserve(entries_.size());
    for (auto const& [key, entry] : entries_) {
      if (entry.problem.empty()) found.endpoints.push_back(entry.endpoint);
      else
        discovery::detail::add_problem(found.problems,
                                       poise::detail::in_quotes(key) + ": " + entry.problem);
    }
    return found;
  }

 private:
  enum class State : std::uint8_t { authenticating, reading, watching };

  [[nodiscard]] Request post(char const* target, Json const& body) const {
    Request request{.method = "POST", .target = target, .body = body.dump()};
    if (!token_.empty()) request.headers.push_back("Authorization: " + token_);
    return request;
  }
  [[nodiscard]] Json range() const {
    return {{"key", detail::base64(prefix_)},
            {"range_end", detail::base64(detail::prefix_end(prefix_))}};
  }
  [[nodiscard]] Request read() {
    state_ = State::reading;
    return post("/v3/kv/range", range());
  }
  [[nodiscard]] Request watch() {
    state_ = State::watching;
    auto create = range();
    create["start_revision"] = std::to_string(revision_ + 1);
    create["progress_notify"] = true;
    auto request = post("/v3/watch", {{"create_request", create}});
    request.streams = true;
    return request;
  }

  /// Reads again after a compaction; any other reason is a failure, a missing permission say.
  [[nodiscard]] Step end_watch(Json const& result) {
    if (find(result, "compact_revision") == nullptr)
      return {Failed{"the watch was cancelled: " +
                         poise::detail::escaped(text_at(result, "cancel_reason")),
                     {}},
              {}};
    auto next = begin();
    next.after = watch_again_after(std::exchange(fruitful_, false));
    return {{}, std::move(next)};
  }
  void take_range(Json const& json) {
    entries_.clear();
    auto const* const revision = find(json, "header", "revision");
    if (revision == nullptr) throw JsonError{wrong("the answer", json, "it has no revision")};
    revision_ = whole(*revision).value_or(0);
    if (auto const* const list = find(json, "kvs"); list != nullptr && list->is_array())
      for (auto const& each : *list) put(each);
  }
  void put(Json const& pair) {
    auto key = detail::from_base64(text_at(pair, "key"));
    auto const value = detail::from_base64(text_at(pair, "value"));
    Entry entry;
    try {
      entry.endpoint = detail::etcd_endpoint(value);
    } catch (JsonError const& error) {
      entry.problem = error.what();
    }
    entries_.insert_or_assign(std::move(key), std::move(entry));
  }
  /// True if there were any.
  bool take_events(Json const& result) {
    auto const* const events = find(result, "events");
    if (events == nullptr || !events->is_array() || events->empty()) return false;
    for (auto const& each : *events) {
      auto const* const pair = find(each, "kv");
      if (pair == nullptr) continue;
      if (text_at(each, "type") == "DELETE")
        entries_.erase(detail::from_base64(text_at(*pair, "key")));
      else put(*pair);
    }
    if (auto const* const revision = find(result, "header", "revision"); revision != nullptr)
      revision_ = whole(*revision).value_or(revision_);
    return true;
  }
  /// What a key says: an endpoint, or what is wrong with it.
  struct Entry {
    Endpoint endpoint{};
    std::string problem{};
  };

  std::string prefix_;
  EtcdOptions options_;
  State state_ = State::reading;
  std::string token_{};
  std::uint64_t revision_ = 0;
  bool fruitful_ = false;                   // this watch has shown a change
  std::map<std::string, Entry> entries_{};  // parsed once, when they come
};

}  // namespace poise::inline v0_1_0::discovery::json
