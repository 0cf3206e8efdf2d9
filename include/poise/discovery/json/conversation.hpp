// SPDX-License-Identifier: MIT
#pragma once

// What is said to a registry over HTTP, and what its answers mean, without a transport: a registry
// that is replayed from a recording and a real one run the same code. discovery/curl/ carries it.

#include <algorithm>
#include <cctype>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <poise/base/percent.hpp>
#include <poise/discovery/look.hpp>
#include <poise/error.hpp>
#include <poise/time.hpp>

namespace poise::inline v0_1_0::discovery::json {

struct Request {
  std::string method = "GET";
  std::string target{};                ///< Path and query, to be put after the base URL.
  std::vector<std::string> headers{};  ///< "Name: value"; may hold secrets.
  std::string body{};
  Duration timeout = std::chrono::seconds{10};  ///< For the whole answer, unless it streams.
  bool streams = false;  ///< A 200 is a stream of lines, handed on as they come.
  Duration after{};      ///< Not earlier than this from now.

  /// Adds a header with what the function returns now, unless there is none or it is empty.
  void add_token(std::string_view header, std::function<std::string()> const& token) {
    if (!token) return;
    if (auto const value = token(); !value.empty())
      headers.push_back(std::string{header}.append(value));
  }
};

struct Answer {
  int status = 0;
  std::vector<std::pair<std::string, std::string>> headers{};  ///< Names in lower case.
  std::string body{};                                          ///< Empty if it was streamed.

  /// "" if there is none. *Requires* a name in lower case.
  [[nodiscard]] std::string_view header(std::string_view name) const {
    for (auto const& [key, value] : headers)
      if (key == name) return value;
    return {};
  }
};

/// What follows from an answer, or from a line of one.
struct Step {
  std::optional<Look> look{};
  std::optional<Request> next{};  ///< To go on with; it ends a stream that is running.
  bool changed = false;           ///< A line changed the list: list() is another one.
};

/// *Threads* one at a time.
class Conversation {
 public:
  Conversation() = default;
  Conversation(Conversation const&) = delete;
  Conversation& operator=(Conversation const&) = delete;
  virtual ~Conversation() = default;

  /// "consul http://10.0.0.1:8500 web"; without secrets.
  [[nodiscard]] virtual std::string name() const = 0;
  /// The first request of a full look; what was said before is forgotten.
  [[nodiscard]] virtual Request begin() = 0;
  /// The answer is complete. A stream ends with an answer, too.
  [[nodiscard]] virtual Step on_answer(Answer const& answer) = 0;
  /// *Cost* that of the line, not of the list: of many lines list() makes one list.
  [[nodiscard]] virtual Step on_line(std::string_view) { return {}; }
  /// The list after all lines so far. Only asked for after one that `changed` it.
  [[nodiscard]] virtual Found list() const { return {}; }
};

/// The failure that an answer other than 200 is.
[[nodiscard]] inline Failed failure(Answer const& answer) {
  Failed failed{"HTTP status " + std::to_string(answer.status), {}};
  if (answer.status >= 300 && answer.status < 400)
    failed.why += " (redirects are not followed: use the final URL)";
  else if (!answer.body.empty())
    failed.why += ": " + poise::detail::escaped(answer.body.substr(0, answer.body.find('\n')));
  auto const after = answer.header("retry-after");
  std::int64_t seconds = 0;
  for (char const digit : after) {
    if (digit < '0' || digit > '9' || seconds > 86'400) return failed;
    seconds = seconds * 10 + (digit - '0');
  }
  if (!after.empty()) failed.retry_after = std::chrono::seconds{seconds};
  return failed;
}

/// How long a list and a watch that begin again wait. A watch that ended before it showed anything
/// would otherwise begin again without end.
[[nodiscard]] constexpr Duration watch_again_after(bool was_fruitful) noexcept {
  return was_fruitful ? Duration::zero() : std::chrono::seconds{1};
}

/// For a path or a query: everything but letters, digits and -._~ becomes %XX.
[[nodiscard]] inline std::string url_encoded(std::string_view text) {
  return poise::detail::percent_encoded(text, "-._~");
}

}  // namespace poise::inline v0_1_0::discovery::json
