// SPDX-License-Identifier: MIT
#pragma once

// The answer to an HTTP probe, read as it comes: small, bounded, and satisfied as soon as it can
// be.
//
// It wants the status, and perhaps a text in the body. Only so much is kept: a head of 16 KiB, and
// of the body what may contain the beginning of the text. So an endless answer, or one of 100 MiB,
// costs its time and no memory. Transfer codings are not undone: the probe asks in HTTP/1.0, to
// which a server answers plainly. A redirect is an answer like any other, and never followed: the
// status is not the one expected, and the cause says where it led. *Source* RFC 9112; RFC 1945 for
// HTTP/1.0.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include <poise/error.hpp>
#include <poise/health/schedule.hpp>

namespace poise::health {

/// What a good answer is.
struct HttpExpectation {
  int least_status = 200;
  int most_status = 299;                           ///< 399 lets redirects pass.
  std::string body{};                              ///< Must occur in it; empty: anything will do.
  std::size_t most_body = std::size_t{64} * 1024;  ///< ... within so many bytes.
};

/// *Threads* one at a time.
class HttpAnswer {
 public:
  explicit HttpAnswer(HttpExpectation expectation) : expectation_{std::move(expectation)} {}

  /// Takes the next piece, of any size. A result ends it; later pieces change nothing.
  std::optional<Probed> feed(std::string_view piece) {
    if (result_) return result_;
    if (!in_body_) piece = feed_head(piece);
    if (!result_ && in_body_) feed_body(piece);
    return result_;
  }

  /// The connection was closed.
  [[nodiscard]] Probed end() {
    if (result_) return *result_;
    if (!in_body_)
      return {false, head_size_ == 0 ? "closed without an answer" : "closed in the head"};
    return {false, "the body lacks the expected text"};
  }

  [[nodiscard]] std::optional<int> status() const noexcept { return status_; }

 private:
  static constexpr std::size_t most_head = std::size_t{16} * 1024;

  /// Returns what belongs to the body.
  std::string_view feed_head(std::string_view piece) {
    while (!piece.empty() && !in_body_ && !result_) {
      auto const end = piece.find('\n');
      auto const line = piece.substr(0, end);
      head_size_ += line.size() + (end == std::string_view::npos ? 0U : 1U);
      if (head_size_ > most_head) {
        fail("a head of more than 16 KiB");
        break;
      }
      head_ += line;
      if (end == std::string_view::npos) {
        check_beginning();
        return {};
      }
      piece.remove_prefix(end + 1);
      if (head_.ends_with('\r')) head_.pop_back();
      take_line();
    }
    return piece;
  }

  /// Nobody waits for the end of a line that can't become a status.
  void check_beginning() {
    constexpr std::string_view start = "HTTP/1.";
    if (status_) return;
    auto const length = std::min(start.size(), head_.size());
    if (head_.compare(0, length, start, 0, length) != 0) fail("not HTTP/1");
  }

  /// The line is the status, a field, or the empty one before the body.
  void take_line() {
    auto const line = std::exchange(head_, {});
    if (!status_) {
      status_ = parse_status(line);
      if (!status_) fail("not a status line of HTTP/1");
    } else if (line.empty()) {
      take_status(*status_);
    } else if (*status_ / 100 == 3 && location_.empty()) {
      location_ = value_of("location", line);
    }
  }

  /// Of a field with this name, which is in lower case; else empty.
  static std::string_view value_of(std::string_view name, std::string_view line) {
    if (line.size() <= name.size() || line[name.size()] != ':') return {};
    for (std::size_t i = 0; i < name.size(); ++i)
      if (line[i] != name[i] && line[i] != name[i] - 'a' + 'A') return {};
    line.remove_prefix(name.size() + 1);
    line.remove_prefix(std::min(line.find_first_not_of(" \t"), line.size()));
    return line;
  }

  void take_status(int status) {
    if (status < 200) {  // an interim answer: another one follows
      status_.reset();
      return;
    }
    auto text = "status " + std::to_string(status);
    if (!location_.empty()) text += " to " + poise::detail::in_quotes(location_);
    if (status < expectation_.least_status || status > expectation_.most_status) return fail(text);
    in_body_ = true;
    if (expectation_.body.empty()) result_ = Probed{true, std::move(text)};
  }

  /// "HTTP/1.1 200 OK", "HTTP/1.0 200"
  static std::optional<int> parse_status(std::string_view line) {
    constexpr std::string_view start = "HTTP/1.";
    constexpr std::size_t space = start.size() + 1;
    if (!line.starts_with(start) || line.size() < space + 4 || line[space] != ' ')
      return std::nullopt;
    if (line[start.size()] < '0' || line[start.size()] > '9') return std::nullopt;
    if (line.size() > space + 4 && line[space + 4] != ' ') return std::nullopt;
    int status = 0;
    for (char const digit : line.substr(space + 1, 3)) {
      if (digit < '0' || digit > '9') return std::nullopt;
      status = status * 10 + (digit - '0');
    }
    if (status < 100) return std::nullopt;
    return status;
  }

  /// Keeps only what may be the beginning of the text, since it may come in pieces.
  void feed_body(std::string_view piece) {
    auto const room = expectation_.most_body - std::min(expectation_.most_body, body_size_);
    auto const used = piece.substr(0, room);
    body_size_ += used.size();
    tail_ += used;
    if (tail_.find(expectation_.body) != std::string::npos) {
      result_ = Probed{true, "status " + std::to_string(*status_) + " and the expected text"};
      return;
    }
    if (tail_.size() >= expectation_.body.size())
      tail_.erase(0, tail_.size() - (expectation_.body.size() - 1));
    if (body_size_ >= expectation_.most_body) fail("the body lacks the expected text");
  }

  void fail(std::string why) { result_ = Probed{false, std::move(why)}; }

  HttpExpectation expectation_;
  std::string head_{};  // the line that is being read
  std::size_t head_size_ = 0;
  std::optional<int> status_{};
  std::string location_{};  // of a redirect
  bool in_body_ = false;
  std::string tail_{};
  std::size_t body_size_ = 0;
  std::optional<Probed> result_{};
};

}  // namespace poise::health
