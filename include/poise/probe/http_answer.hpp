// SPDX-License-Identifier: MIT
#pragma once

// The answer to an HTTP probe, read as it comes: small, bounded, and decided as early as possible.
//
// A probe needs the status, and perhaps a text in the body. So little is kept: a head of at most
// 16 KiB, and of the body what may contain the beginning of the text. An endless answer, or one of
// 100 MiB, costs time but no memory. Chunked bodies are decoded, compressed ones are not. A
// redirect is an answer like any other, and is never followed: the cause says where it led.
// *Source* RFC 9112.

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include <poise/error.hpp>
#include <poise/probe/schedule.hpp>

namespace poise::inline v0_1_0::health {

/// What a good answer is.
struct HttpExpectation {
  int min_status = 200;
  int max_status = 299;  ///< 399 lets redirects pass.
  std::string body{};    ///< Must occur in the body; empty: any body passes.
  std::size_t max_body = std::size_t{64} * 1024;  ///< ... within its first bytes, this many.
};

namespace detail {

/// Takes a chunked body apart, in pieces of any size. *Source* RFC 9112, 7.1.
class Chunks {
 public:
  /// The next bytes of the body; removes what it read from the piece. Empty: it needs more.
  std::string_view next(std::string_view& piece) {
    for (; !piece.empty() && !is_broken() && !has_ended(); piece.remove_prefix(1)) {
      if (state_ != State::data) {
        take(piece.front());
        continue;
      }
      auto const bytes =
          piece.substr(0, static_cast<std::size_t>(std::min<std::uint64_t>(left_, piece.size())));
      piece.remove_prefix(bytes.size());
      left_ -= bytes.size();
      if (left_ == 0) state_ = State::after_data;
      return bytes;
    }
    return {};
  }
  [[nodiscard]] bool has_ended() const noexcept { return state_ == State::ended; }
  [[nodiscard]] bool is_broken() const noexcept { return state_ == State::broken; }

 private:
  enum class State : std::uint8_t { size, extension, data, after_data, ended, broken };

  void take(char letter) {
    constexpr std::uint32_t max_line = 4096;
    if (++line_ > max_line) state_ = State::broken;
    else if (state_ == State::after_data) take_end(letter);
    else if (letter == '\n') begin_data();
    else if (state_ == State::size) take_digit(letter);
  }
  /// Of the line end behind a chunk.
  void take_end(char letter) {
    if (letter == '\n') *this = Chunks{};
    else if (letter != '\r') state_ = State::broken;
  }
  void take_digit(char letter) {
    constexpr std::uint32_t max_digits = 15;  // so that no size overflows
    constexpr std::string_view digits = "0123456789abcdef0123456789ABCDEF";
    auto const digit = digits.find(letter);
    if (digit != std::string_view::npos && ++digits_ <= max_digits) left_ = left_ * 16 + digit % 16;
    else if (digits_ == 0 || digits_ > max_digits) state_ = State::broken;
    else if (letter == ';' || letter == ' ' || letter == '\t' || letter == '\r')
      state_ = State::extension;
    else state_ = State::broken;
  }
  void begin_data() {
    state_ = digits_ == 0 ? State::broken : left_ == 0 ? State::ended : State::data;
  }

  State state_ = State::size;
  std::uint64_t left_ = 0;
  std::uint32_t digits_ = 0;
  std::uint32_t line_ = 0;
};

}  // namespace detail

/// *Threads* one at a time.
class HttpAnswer {
 public:
  explicit HttpAnswer(HttpExpectation expectation) : expectation_{std::move(expectation)} {}

  /// Takes the next piece, of any size. Once there is a result, later pieces change nothing.
  std::optional<Probed> feed(std::string_view piece) {
    if (result_) return result_;
    if (!in_body_) piece = feed_head(piece);
    if (!result_ && in_body_) feed_body(piece);
    return result_;
  }

  /// Tells that the connection was closed.
  [[nodiscard]] Probed end() {
    if (result_) return *result_;
    if (!in_body_)
      return {false, head_size_ == 0 ? "closed without an answer" : "closed in the head"};
    return {false, "the body lacks the expected text"};
  }

  [[nodiscard]] std::optional<int> status() const noexcept { return status_; }

 private:
  static constexpr std::size_t max_head = std::size_t{16} * 1024;

  /// Returns the part of the piece that belongs to the body.
  std::string_view feed_head(std::string_view piece) {
    while (!piece.empty() && !in_body_ && !result_) {
      auto const end = piece.find('\n');
      auto const line = piece.substr(0, end);
      head_size_ += line.size() + (end == std::string_view::npos ? 0U : 1U);
      if (head_size_ > max_head) {
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

  /// Fails at once if the line can't become a status.
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
    } else {
      take_field(line);
    }
  }

  void take_field(std::string_view line) {
    if (*status_ / 100 == 3 && location_.empty()) location_ = value_of("location", line);
    if (is_chunked(value_of("transfer-encoding", line))) chunks_.emplace();
    auto const length = value_of("content-length", line);
    std::uint64_t size = 0;
    auto const [end, error] = std::from_chars(length.data(), length.data() + length.size(), size);
    if (error == std::errc{} && end == length.data() + length.size()) left_ = size;
  }
  /// The last coding is the outermost one.
  static bool is_chunked(std::string_view codings) {
    constexpr std::string_view last = "chunked";
    if (codings.size() < last.size()) return false;
    return equal_in_lower(codings.substr(codings.size() - last.size()), last);
  }
  static bool equal_in_lower(std::string_view text, std::string_view lower) {
    return std::ranges::equal(text, lower, {}, [](char letter) {
      return letter >= 'A' && letter <= 'Z' ? static_cast<char>(letter - 'A' + 'a') : letter;
    });
  }

  /// Of a field with this name, which is in lower case; else empty.
  static std::string_view value_of(std::string_view name, std::string_view line) {
    if (line.size() <= name.size() || line[name.size()] != ':') return {};
    if (!equal_in_lower(line.substr(0, name.size()), name)) return {};
    line.remove_prefix(name.size() + 1);
    line.remove_prefix(std::min(line.find_first_not_of(" \t"), line.size()));
    return line.substr(0, line.find_last_not_of(" \t") + 1);
  }

  void take_status(int status) {
    if (status < 200) {  // an interim answer: another one follows
      status_.reset();
      chunks_.reset();
      left_.reset();
      return;
    }
    auto text = "status " + std::to_string(status);
    if (!location_.empty()) text += " to " + poise::detail::in_quotes(location_);
    if (status < expectation_.min_status || status > expectation_.max_status) return fail(text);
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

  void feed_body(std::string_view piece) {
    while (!result_ && !body_ended() && !piece.empty()) {
      auto const bytes = next_of_body(piece);
      if (chunks_ && chunks_->is_broken()) return fail("a broken chunk");
      search(bytes);
    }
    if (!result_ && body_ended()) fail("the body lacks the expected text");
  }
  std::string_view next_of_body(std::string_view& piece) {
    if (chunks_) return chunks_->next(piece);
    auto const bytes = piece.substr(
        0, static_cast<std::size_t>(std::min<std::uint64_t>(left_.value_or(~0ULL), piece.size())));
    piece.remove_prefix(bytes.size());
    if (left_) *left_ -= bytes.size();
    return bytes;
  }
  [[nodiscard]] bool body_ended() const noexcept {
    return chunks_ ? chunks_->has_ended() : left_ && *left_ == 0;
  }

  /// Keeps only what may be the beginning of the text, since the text may come in pieces.
  void search(std::string_view bytes) {
    auto const room = expectation_.max_body - std::min(expectation_.max_body, body_size_);
    auto const used = bytes.substr(0, room);
    body_size_ += used.size();
    tail_ += used;
    if (tail_.find(expectation_.body) != std::string::npos) {
      result_ = Probed{true, "status " + std::to_string(*status_) + " and the expected text"};
      return;
    }
    if (tail_.size() >= expectation_.body.size())
      tail_.erase(0, tail_.size() - (expectation_.body.size() - 1));
    if (body_size_ >= expectation_.max_body) fail("the body lacks the expected text");
  }

  void fail(std::string why) { result_ = Probed{false, std::move(why)}; }

  HttpExpectation expectation_;
  std::string head_{};  // the line that is being read
  std::size_t head_size_ = 0;
  std::optional<int> status_{};
  std::string location_{};  // of a redirect
  bool in_body_ = false;
  std::optional<detail::Chunks> chunks_{};
  std::optional<std::uint64_t> left_{};  // of a body whose length is known
  std::string tail_{};
  std::size_t body_size_ = 0;
  std::optional<Probed> result_{};
};

}  // namespace poise::inline v0_1_0::health
