// SPDX-License-Identifier: MIT
#pragma once

// Any URL that answers a list: JSON of poise's own, lines, or what a parser of yours reads.

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

#include <poise/discovery/json/conversation.hpp>
#include <poise/discovery/json/endpoints.hpp>
#include <poise/discovery/look.hpp>

namespace poise::inline v0_1_0::discovery::json {

/// Polled as FollowerOptions::refresh says; an ETag saves the transfer of what did not change.
class HttpList final : public Conversation {
 public:
  using Parse = std::function<Look(std::string_view)>;

  explicit HttpList(std::string target, Parse parse = parse_any)
      : target_{std::move(target)}, parse_{std::move(parse)} {}

  [[nodiscard]] std::string name() const override { return "http list"; }
  [[nodiscard]] Request begin() override {
    Request request{.target = target_};
    if (last_ && !tag_.empty()) request.headers.push_back("If-None-Match: " + tag_);
    return request;
  }
  [[nodiscard]] Step on_answer(Answer const& answer) override {
    if (answer.status == 304 && last_) return {*last_, {}};
    if (answer.status != 200) return {failure(answer), {}};
    auto look = parse_(answer.body);
    if (auto* const found = std::get_if<Found>(&look)) {
      tag_ = answer.header("etag");
      found->version = tag_;
      last_ = *found;
    }
    return {std::move(look), {}};
  }

 private:
  std::string target_;
  Parse parse_;
  std::string tag_{};
  std::optional<Found> last_{};
};

}  // namespace poise::inline v0_1_0::discovery::json
