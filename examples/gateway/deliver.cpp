// SPDX-License-Identifier: MIT
// Responses: from a head to the client's last byte; tunnels; and what the gateway says itself.

#include <algorithm>
#include <chrono>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <boost/asio/co_spawn.hpp>
#include <boost/beast/http/verb.hpp>

#include "exchange.hpp"

namespace gateway {

using poise::Outcome;
using poise::Result;

Task<Outcome> Exchange::deliver() {
  auto const outcome = outcome_of_head();
  status_ = response_head_.status;
  if (status_ == 101) {
    if (upgrade_.empty()) {
      response_.reset();
      backend_.reset();
      co_await answer(502, "the backend changed the protocol unasked");
      co_return outcome;
    }
    auto head = response_head(response_head_, {}, Persistence::upgrade, head_.version);
    auto const end = co_await tunnel(std::move(head));
    co_return end;
  }
  answered_ = true;
  auto const framing = framing_of_response();
  if (framing.kind == Framing::Kind::until_close || uploading_ || worker_.draining())
    keep_alive_ = false;
  auto const persistence = keep_alive_ ? Persistence::keep_alive : Persistence::close;
  auto head = response_head(response_head_, framing, persistence, head_.version);
  auto const end = co_await deliver_body(std::move(head), framing);
  if (end.result != Result::success) co_return end;
  co_await end_upload();
  if (can_keep_backend()) worker_.idle().keep(*upstream_, std::move(backend_), settings_->max_idle);
  co_return outcome;
}

Framing Exchange::framing_of_response() const {
  auto const length = response_->content_length();
  if (status_ == 204) return {};
  if (head_.verb == http::verb::head || status_ == 304)
    return length ? Framing{Framing::Kind::length, *length} : Framing{};
  if (length) return {Framing::Kind::length, *length};
  return {head_.version >= 11 ? Framing::Kind::chunked : Framing::Kind::until_close, 0};
}

bool Exchange::can_keep_backend() const {
  return response_->is_done() && response_->keep_alive() && parser_.is_done() &&
         backend_->unread().empty();
}

Task<Outcome> Exchange::deliver_body(std::string head, Framing framing) {
  std::string line;
  std::vector<net::const_buffer> parts{buffer_of(head)};
  for (bool is_first = true;; is_first = false) {
    std::size_t used = 0;
    Error error;
    if (is_first && !response_->is_done()) used = response_->parse_body(backend_->unread(), error);
    else if (!is_first)
      error = co_await read_body(*backend_, *response_, used, settings_->body_timeout);
    if (error && error != http::error::need_more) co_return cut_off(error, framing);
    std::size_t size = 0;
    for (auto const& each : response_->pieces()) size += each.size();
    bool const chunked = framing.kind == Framing::Kind::chunked;
    if (chunked && size != 0) {
      line = chunk_line(size);
      parts.push_back(buffer_of(line));
    }
    parts.insert(parts.end(), response_->pieces().begin(), response_->pieces().end());
    if (chunked) parts.push_back(buffer_of(chunk_end(size != 0, response_->is_done())));
    error = co_await stream_.write(parts, settings_->body_timeout);
    if (error) {
      client_failed_ = true;
      co_return Result::cancelled;
    }
    body_out_ += size;
    parts.clear();
    backend_->consume(used);
    if (response_->is_done()) co_return Outcome{};
  }
}

/// The client must notice that the response is not whole.
Outcome Exchange::cut_off(Error error, Framing framing) {
  ++worker_.shared().totals.cut_off;
  keep_alive_ = false;
  if (framing.kind == Framing::Kind::until_close) stream_.break_off();
  if (client_error_) return Result::cancelled;
  return error == net::error::timed_out ? Result::timeout : Result::reset;
}

/// Bytes either way, until both sides have ended or nothing was sent for too long.
Task<Outcome> Exchange::tunnel(std::string head) {
  answered_ = true;
  keep_alive_ = false;
  ++worker_.shared().totals.tunnels;
  auto const error = co_await write_to_client(head);
  if (error) co_return Result::cancelled;
  last_activity_ = Clock::now();
  uploading_ = true;
  if (!upload_ended_) upload_ended_.emplace(worker_.context());
  net::co_spawn(worker_.context(), copy(stream_, *backend_),
                [this](auto const& thrown) { uploaded(thrown); });
  co_await copy(*backend_, stream_);
  while (uploading_) {
    Error ignored;
    upload_ended_->expires_at(Clock::time_point::max());
    co_await upload_ended_->async_wait(into(ignored));
  }
  co_return Outcome{};
}

Task<void> Exchange::copy(Stream& from, Stream& to) {
  Error error;
  while (!error && !stopping_) {
    if (from.unread().empty()) {
      from.reading().within(settings_->tunnel_timeout);
      error = co_await from.read();
      bool const other_way = Clock::now() - last_activity_ < settings_->tunnel_timeout;
      if (error == net::error::timed_out && other_way) error = {};
    }
    if (error || from.unread().empty()) continue;
    last_activity_ = Clock::now();
    auto const size = from.unread().size();
    (&from == &stream_ ? body_in_ : body_out_) += size;
    std::vector<net::const_buffer> parts{buffer_of(from.unread())};
    error = co_await to.write(parts, settings_->body_timeout);
    from.consume(size);
  }
  if (error == net::error::eof) {
    to.end_writing();
    co_return;
  }
  stopping_ = true;
  from.close();
  to.close();
}

// -- what the gateway says itself -----------------------------------------------------------------

Task<void> Exchange::answer(unsigned status, std::string_view text, long retry_after) {
  ++worker_.shared().totals.refused;
  answered_ = true;
  status_ = status;
  if (!parser_.is_done() || head_.version < 11 || worker_.draining()) keep_alive_ = false;
  auto const response =
      own_response(status, text, keep_alive_, head_.verb == http::verb::head, retry_after);
  (void)co_await write_to_client(response);
}

Task<void> Exchange::answer_for(Outcome outcome) {
  if (outcome.result == Result::timeout || outcome.result == Result::connect_timeout)
    co_await answer(504, "the backend did not answer in time");
  else if (outcome.result == Result::cancelled)
    co_await answer(503, "the gateway has no connection left");
  else co_await answer(502, "the backend did not answer");
}

Task<void> Exchange::answer_without(poise::Error error) {
  if (request_.attempt > 1) {
    co_await answer_for(last_);
    co_return;
  }
  auto const wait = std::chrono::ceil<std::chrono::seconds>(error.retry_after);
  co_await answer(503, "no backend takes requests now", wait.count());
}

Task<Error> Exchange::write_to_client(std::string_view text) {
  std::vector<net::const_buffer> parts{buffer_of(text)};
  auto const error = co_await stream_.write(parts, settings_->body_timeout);
  if (error) client_failed_ = true;
  co_return error;
}

void Exchange::write_log() const {
  using Seconds = std::chrono::duration<double>;
  auto const line =
      fmt::format("{} {} {} {} {} {} {:.6f} {}{}", time_of_day(), client_.address,
                  in_quotes(head_.raw.substr(0, head_.raw.find('\r'))), status_, body_in_,
                  body_out_, Seconds{Clock::now() - began_}.count(), in_quotes(message(attempts_)),
                  client_failed_ ? " client gone" : "");
  worker_.access_log()->add(line);
}

}  // namespace gateway
