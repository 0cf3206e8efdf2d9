// SPDX-License-Identifier: MIT
#pragma once

// Heads and bodies of messages, read by Boost.Beast's parser. A head is read whole, looked at for
// what that parser lets pass, and then parsed once; of a body no more than a buffer is held.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <boost/beast/http/basic_parser.hpp>
#include <boost/beast/http/error.hpp>
#include <boost/beast/http/field.hpp>
#include <boost/beast/http/verb.hpp>

#include "net.hpp"
#include "stream.hpp"

namespace gateway {

namespace http = boost::beast::http;

[[nodiscard]] inline std::string_view view_of(boost::beast::string_view text) noexcept {
  return {text.data(), text.size()};
}

/// A field of a head; the texts stand in Head::raw.
struct Field {
  http::field id;
  std::string_view name;
  std::string_view value;
};

/// The first line and the fields of a message.
struct Head {
  std::string raw{};
  std::deque<std::string> unfolded{};  ///< Values that a backend wrote in several lines.
  http::verb verb = http::verb::unknown;
  std::string_view method{};
  std::string_view target{};
  unsigned status = 0;
  std::string_view reason{};
  unsigned version = 11;
  std::vector<Field> fields{};

  void clear() {
    raw.clear();
    unfolded.clear();
    fields.clear();
  }
  /// The value of the first field of this name; empty if there is none.
  [[nodiscard]] std::string_view operator[](http::field id) const noexcept {
    auto const found = std::ranges::find(fields, id, &Field::id);
    return found == fields.end() ? std::string_view{} : found->value;
  }
  [[nodiscard]] std::size_t count(http::field id) const noexcept {
    return static_cast<std::size_t>(std::ranges::count(fields, id, &Field::id));
  }
};

/// Beast's parser, which hands fields and parts of bodies over where they stand.
template <bool IsRequest>
class Parser : public http::basic_parser<IsRequest> {
  using View = boost::beast::string_view;
  using BeastError = boost::beast::error_code;

 public:
  explicit Parser(Head& head) : head_{head} {
    this->header_limit(~std::uint32_t{0});  // it was read already, within the limit
    this->body_limit(boost::none);
    this->eager(true);
  }

  /// Parses Head::raw. *Errors* of Beast.
  [[nodiscard]] Error parse_head() {
    Error error;
    auto const used = this->put(net::buffer(head_.raw), error);
    if (!error && used != head_.raw.size()) error = http::error::bad_field;
    return error;
  }

  /// Takes parts of the body out of what was read: they are in pieces(), and must be used before
  /// the stream is told to consume as many bytes as are returned. `error` is need_more if the rest
  /// is not enough.
  [[nodiscard]] std::size_t parse_body(std::string_view unread, Error& error) {
    pieces_.clear();
    if (unread.empty()) return 0;
    return this->put(buffer_of(unread), error);
  }
  [[nodiscard]] std::vector<net::const_buffer> const& pieces() const noexcept { return pieces_; }

 private:
  void on_request_impl(http::verb verb, View method, View target, int version,
                       BeastError&) override {
    head_.verb = verb;
    head_.method = view_of(method);
    head_.target = view_of(target);
    head_.version = static_cast<unsigned>(version);
  }
  void on_response_impl(int status, View reason, int version, BeastError&) override {
    head_.status = static_cast<unsigned>(status);
    head_.reason = view_of(reason);
    head_.version = static_cast<unsigned>(version);
  }
  void on_field_impl(http::field id, View name, View value, BeastError&) override {
    if (this->is_header_done()) return;  // trailers are not passed on
    auto text = view_of(value);
    if (!stands_in_head(text)) text = head_.unfolded.emplace_back(text);
    head_.fields.push_back({id, view_of(name), text});
  }
  void on_header_impl(BeastError&) override {}
  void on_body_init_impl(boost::optional<std::uint64_t> const&, BeastError&) override {}
  std::size_t on_body_impl(View part, BeastError&) override {
    pieces_.emplace_back(part.data(), part.size());
    return part.size();
  }
  /// Extensions mean nothing to a gateway, and servers disagree on where they end.
  void on_chunk_header_impl(std::uint64_t, View extension, BeastError& error) override {
    if (IsRequest && !extension.empty()) error = http::error::bad_chunk_extension;
  }
  std::size_t on_chunk_body_impl(std::uint64_t, View part, BeastError&) override {
    pieces_.emplace_back(part.data(), part.size());
    return part.size();
  }
  void on_finish_impl(BeastError&) override {}

  [[nodiscard]] bool stands_in_head(std::string_view text) const noexcept {
    return text.data() >= head_.raw.data() && text.data() <= head_.raw.data() + head_.raw.size();
  }

  Head& head_;
  std::vector<net::const_buffer> pieces_{};
};

/// What goes before a part of a chunked body: its size.
[[nodiscard]] inline std::string chunk_line(std::size_t size) {
  constexpr std::string_view digits = "0123456789abcdef";
  std::string text = "\r\n";
  do {
    text.insert(text.begin(), digits[size % digits.size()]);
    size /= digits.size();
  } while (size != 0);
  return text;
}
/// What goes behind it.
[[nodiscard]] constexpr std::string_view chunk_end(bool has_data, bool is_last) noexcept {
  constexpr std::string_view all = "\r\n0\r\n\r\n";
  if (is_last) return has_data ? all : all.substr(2);
  return has_data ? all.substr(0, 2) : std::string_view{};
}

using RequestParser = Parser<true>;
using ResponseParser = Parser<false>;

/// Finds the end of a head as it arrives. Lines that end in LF alone, and folded ones, are how
/// requests are smuggled past servers that read them differently.
class HeadScan {
 public:
  enum class State : std::uint8_t { more, done, bare_lf, folded };

  explicit HeadScan(bool may_fold) : may_fold_{may_fold} {}

  /// `text` is what was given before and more. The size of the head is size().
  State look(std::string_view text) {
    for (;;) {
      auto const end = text.find('\n', looked_);
      looked_ = end == std::string_view::npos ? text.size() : end + 1;
      if (end == std::string_view::npos) return State::more;
      if (end == 0 || text[end - 1] != '\r') return State::bare_lf;
      bool const is_empty = end - 1 == line_;
      bool const is_folded = line_ != 0 && (text[line_] == ' ' || text[line_] == '\t');
      line_ = end + 1;
      if (is_empty) return State::done;
      if (is_folded && !may_fold_) return State::folded;
    }
  }
  [[nodiscard]] std::size_t size() const noexcept { return line_; }

 private:
  bool may_fold_;
  std::size_t looked_ = 0;
  std::size_t line_ = 0;  // where the current one begins
};

/// Reads a head into `head.raw`, within the stream's reading deadline. *Errors* those of the
/// stream; header_limit; bad_line_ending; bad_obs_fold.
inline Task<Error> read_head(Stream& stream, Head& head, std::size_t max, bool may_fold) {
  head.clear();
  HeadScan scan{may_fold};
  for (;;) {
    auto const unread = stream.unread();
    auto const state = scan.look(unread.substr(0, max));
    if (state == HeadScan::State::bare_lf) co_return http::error::bad_line_ending;
    if (state == HeadScan::State::folded) co_return http::error::bad_obs_fold;
    if (state == HeadScan::State::done) break;
    if (unread.size() >= max) co_return http::error::header_limit;
    Error const error = co_await stream.read();
    if (error == net::error::no_buffer_space) co_return http::error::header_limit;
    if (error) co_return error;
  }
  head.raw.assign(stream.unread().substr(0, scan.size()));
  stream.consume(scan.size());
  co_return Error{};
}

/// Reads until there are pieces of a body or its end. `used` bytes are to be consumed when the
/// pieces were used. *Errors* those of the stream and of Beast.
template <bool IsRequest>
Task<Error> read_body(Stream& stream, Parser<IsRequest>& parser, std::size_t& used,
                      Duration timeout) {
  stream.reading().within(timeout);
  for (;;) {
    Error error;
    used = parser.parse_body(stream.unread(), error);
    if (error && error != http::error::need_more) co_return error;
    if (parser.is_done() || !parser.pieces().empty()) break;
    stream.consume(std::exchange(used, 0));
    error = co_await stream.read();
    if (error == net::error::eof) {
      error = {};
      parser.put_eof(error);
      if (error || parser.is_done()) co_return error;
    }
    if (error) co_return error;
  }
  stream.reading().none();
  co_return Error{};
}

}  // namespace gateway
