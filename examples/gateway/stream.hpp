// SPDX-License-Identifier: MIT
#pragma once

// A connection to a client or a backend: a socket, a bounded buffer of what was read, and a
// deadline for each direction.

#include <algorithm>
#include <cstddef>
#include <string_view>
#include <utility>
#include <vector>

#include <boost/asio/buffer.hpp>
#include <boost/asio/socket_base.hpp>
#include <boost/beast/core/flat_buffer.hpp>

#include "deadline.hpp"
#include "net.hpp"

namespace gateway {

/// A sequence of buffers that stands somewhere else.
class BufferView {
 public:
  using value_type = net::const_buffer;
  // NOLINTNEXTLINE(readability-identifier-naming): the name that Asio asks for
  using const_iterator = net::const_buffer const*;

  BufferView(const_iterator begin, const_iterator end) : begin_{begin}, end_{end} {}
  [[nodiscard]] const_iterator begin() const noexcept { return begin_; }
  [[nodiscard]] const_iterator end() const noexcept { return end_; }

 private:
  const_iterator begin_;
  const_iterator end_;
};

[[nodiscard]] inline net::const_buffer buffer_of(std::string_view text) noexcept {
  return {text.data(), text.size()};
}

/// *Threads* its worker's. One read and one write at a time.
class Stream {
 public:
  Stream(Socket socket, Deadlines& deadlines, std::size_t max_buffer)
      : socket_{std::move(socket)},
        reading_{deadlines, socket_},
        writing_{deadlines, socket_},
        buffer_{std::max(max_buffer, part)} {}

  [[nodiscard]] Socket& socket() noexcept { return socket_; }
  [[nodiscard]] Deadline& reading() noexcept { return reading_; }
  [[nodiscard]] Deadline& writing() noexcept { return writing_; }
  /// What was read and not yet consumed.
  [[nodiscard]] std::string_view unread() const noexcept {
    auto const data = buffer_.data();
    return {static_cast<char const*>(data.data()), data.size()};
  }
  void consume(std::size_t size) { buffer_.consume(size); }

  /// Reads some more within the reading deadline. *Errors* eof; timed_out; no_buffer_space: the
  /// buffer is full.
  Task<Error> read() {
    Error error;
    if (reading_.passed()) co_return net::error::timed_out;
    auto const room = buffer_.max_size() - buffer_.size();
    if (room == 0) co_return net::error::no_buffer_space;
    auto const space = buffer_.prepare(std::min(room, part));
    auto const size = co_await socket_.async_read_some(space, into(error));
    buffer_.commit(size);
    if (error && reading_.passed()) error = net::error::timed_out;
    co_return error;
  }

  /// Writes all of it. *Errors* timed_out: nothing was taken for so long.
  Task<Error> write(std::vector<net::const_buffer>& parts, Duration timeout) {
    Error error;
    std::size_t done = 0;
    while (done < parts.size() && !error) {
      writing_.within(timeout);
      BufferView const left{parts.data() + done, parts.data() + parts.size()};
      auto size = co_await socket_.async_write_some(left, into(error));
      while (done < parts.size() && size >= parts[done].size()) size -= parts[done++].size();
      if (done < parts.size()) parts[done] += size;
    }
    if (error && writing_.passed()) error = net::error::timed_out;
    writing_.none();
    co_return error;
  }

  /// What is in progress ends with operation_aborted.
  void cancel() {
    Error ignored;
    // NOLINTNEXTLINE(bugprone-unused-return-value): it is in `ignored`, too
    socket_.cancel(ignored);
  }
  void close() {
    Error ignored;
    // NOLINTNEXTLINE(bugprone-unused-return-value): it is in `ignored`, too
    socket_.close(ignored);
  }
  /// The other side reads an error, not an end.
  void break_off() {
    Error ignored;
    // NOLINTNEXTLINE(bugprone-unused-return-value): it is in `ignored`, too
    socket_.set_option(net::socket_base::linger{true, 0}, ignored);
    close();
  }
  /// The other side reads an end.
  void end_writing() {
    Error ignored;
    // NOLINTNEXTLINE(bugprone-unused-return-value): it is in `ignored`, too
    socket_.shutdown(Socket::shutdown_send, ignored);
  }

 private:
  static constexpr std::size_t part = 16'384;

  Socket socket_;
  Deadline reading_;
  Deadline writing_;
  boost::beast::flat_buffer buffer_;
};

}  // namespace gateway
