// SPDX-License-Identifier: MIT
// Attempts: from a request to the head of a response.

#include "exchange.hpp"

#include <algorithm>
#include <chrono>
#include <exception>
#include <memory>
#include <optional>
#include <ranges>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <sys/socket.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/beast/http/verb.hpp>
#include <poise/boost_asio/call.hpp>
#include <poise/hashing/key.hpp>
#include <poise/load_report.hpp>
#include <poise/orca/header.hpp>
#include <poise/orca/json.hpp>

#include "refuse.hpp"

namespace gateway {

namespace {

using poise::Outcome;
using poise::Result;

/// RFC 9110, 9.2.2.
bool is_idempotent(http::verb method) noexcept {
  using http::verb;
  return method == verb::get || method == verb::head || method == verb::options ||
         method == verb::put || method == verb::delete_;
}

std::string_view route_key_of(Head const& head, Client const& client, std::string const& what) {
  if (what == "client") return client.address;
  if (what == "path") return poise::key::path(head.target);
  if (what == "target") return head.target;
  auto const name = std::string_view{what}.substr(std::min(what.find(':') + 1, what.size()));
  if (what.starts_with("cookie:")) return poise::key::cookie(head[http::field::cookie], name);
  if (what.starts_with("field:"))
    for (auto const& each : head.fields)
      if (equal_ignoring_case(each.name, name)) return each.value;
  return {};
}

/// Of an error on a backend's connection, once there is one.
Outcome outcome_after(Error error) {
  if (error == net::error::timed_out) return Result::timeout;
  auto const outcome = poise::outcome_of(static_cast<std::error_code>(error));
  if (outcome.result == Result::cancelled) return outcome;  // this machine lacks something
  return Result::reset;
}

Outcome outcome_of_connecting(Error error) {
  if (error == net::error::timed_out) return Result::connect_timeout;
  auto outcome = poise::outcome_of(static_cast<std::error_code>(error));
  if (outcome.result != Result::cancelled) outcome = Result::refused;
  outcome.sent = false;
  return outcome;
}

}  // namespace

Exchange::Exchange(Worker& worker, Stream& stream, Head const& head, RequestParser& parser,
                   Client const& client)
    : worker_{worker},
      settings_{worker.settings()},
      stream_{stream},
      head_{head},
      parser_{parser},
      client_{client},
      upgrade_{parser.is_done() ? upgrade_of(head) : std::string_view{}},
      expects_continue_{head.version >= 11 && !head[http::field::expect].empty()},
      keep_alive_{parser.keep_alive()} {
  request_.client_id = client.address;
  request_.route_key = route_key_of(head, client, settings_->route_key);
  request_.idempotent = is_idempotent(head.verb) && upgrade_.empty();
  auto const& balancer = worker.service().balancer();
  auto const timeouts = balancer.timeouts(request_);
  attempt_timeout_ = timeouts.attempt_timeout;
  if (timeouts.timeout > Duration::zero()) {
    deadline_ = began_ + timeouts.timeout;
    request_.deadline = balancer.now() + timeouts.timeout;
  }
}

Task<bool> Exchange::run() {
  for (request_.attempt = 1;; ++request_.attempt) {
    auto lease = co_await pick();
    if (!lease) {
      co_await answer_without(lease.error());
      break;
    }
    bool const again = co_await run_attempt(std::move(lease));
    if (!again) break;
  }
  co_await end_upload();
  auto& totals = worker_.shared().totals;
  if (client_failed_) ++totals.client_gone;
  ++totals.responses[std::min<std::size_t>(status_ / 100, totals.responses.size() - 1)];
  if (worker_.access_log() != nullptr) write_log();
  co_return keep_alive_ && !client_failed_ && parser_.is_done() && !worker_.draining();
}

/// True if another attempt is to follow.
Task<bool> Exchange::run_attempt(Lease lease) {
  last_ = co_await attempt(*lease->payload());
  if (client_error_ || client_failed_) {
    co_await end_without_client(std::move(lease));
    co_return false;
  }
  if (response_) take_load_report(lease);
  auto const pause = pause_before_next(lease, last_);
  if (!pause) {
    if (response_) last_ = co_await deliver();
    else co_await answer_for(last_);
  }
  note(lease, last_);
  if (latency_) lease.finish(last_, *latency_);
  else lease.finish(last_);
  if (!pause) co_return false;
  co_await end_upload();
  backend_.reset();
  response_.reset();
  co_await wait(*pause);
  co_return true;
}

/// What the backend says about its load; it counts if [load_reports] is on. Reports that can't be
/// read are logged once, until one can be.
void Exchange::take_load_report(Lease& lease) {
  std::string error;
  auto const report = poise::orca::read_headers(
      response_head_.fields |
          std::views::transform([](Field const& each) { return std::pair{each.name, each.value}; }),
      error, &poise::orca::read_json);
  if (report) lease.report_load(*report);
  else if (!error.empty()) lease.report_load(poise::LoadReport::unreadable());
  else return;
  if (upstream_->begins_to_fail_reports(!report))
    worker_.shared().log("backend " + lease->id() + ": " + error);
}

/// The client's body is wrong, came too slowly, or will not come.
Task<void> Exchange::end_without_client(Lease lease) {
  note(lease, {Result::cancelled, true});
  lease.finish(Result::cancelled);
  co_await end_upload();
  keep_alive_ = false;
  auto const refusal = client_error_ ? refusal_of(*client_error_) : std::nullopt;
  if (refusal && !answered_) co_await answer(refusal->status, refusal->why);
  else client_failed_ = true;
}

Task<Exchange::Lease> Exchange::pick() {
  attempt_deadline_ = attempt_timeout_ > Duration::zero()
                          ? std::min(deadline_, Clock::now() + attempt_timeout_)
                          : deadline_;
  request_.excluded = tried_;
  auto lease = worker_.service().balancer().pick(request_);
  if (lease || settings_->queue_timeout == Duration::zero()) co_return lease;
  if (lease.error().refused == 0) co_return lease;
  lease = co_await net::co_spawn(
      worker_.context(),
      poise::boost_asio::pick_for(worker_.service().balancer(), request_, settings_->queue_timeout),
      net::use_awaitable_t<Executor>{});
  co_return lease;
}

/// Until the head of a response has arrived, or it is clear that none will.
Task<Outcome> Exchange::attempt(Upstream& upstream) {
  auto const began = Clock::now();
  upstream_ = &upstream;
  heard_ = false;
  latency_.reset();
  auto error = co_await begin(upstream, false);
  if (backend_ && error && was_stale(error)) {
    ++worker_.shared().totals.stale;
    co_await end_upload();
    if (!body_begun_) error = co_await begin(upstream, true);
  }
  if (!backend_) co_return outcome_of_connecting(error);
  if (error) {
    response_.reset();
    co_await end_upload();
    backend_.reset();
    co_return outcome_after(error);
  }
  latency_ = Clock::now() - began;
  co_return outcome_of_head();
}

Task<Error> Exchange::begin(Upstream& upstream, bool fresh) {
  // A kept connection may be closed while the request is on its way. What can't be repeated goes
  // only where that is most unlikely.
  constexpr Duration young = std::chrono::seconds{1};
  bool const repeatable = request_.idempotent && parser_.is_done();
  auto& totals = worker_.shared().totals;
  auto const age = repeatable ? settings_->backend_idle : std::min(young, settings_->backend_idle);
  backend_ = fresh ? nullptr : worker_.idle().take(upstream, age);
  reused_ = backend_ != nullptr;
  Error error;
  if (!backend_)
    backend_ = co_await connect(upstream, worker_.context(), worker_.deadlines(),
                                settings_->max_header, within(settings_->connect_timeout), error);
  if (!backend_) co_return error;
  ++(reused_ ? totals.reused : totals.connected);
  error = co_await send_head();
  if (!error) error = co_await read_response_head();
  co_return error;
}

Task<Error> Exchange::send_head() {
  Framing framing;
  if (auto const length = parser_.content_length()) framing = {Framing::Kind::length, *length};
  else if (parser_.chunked()) framing.kind = Framing::Kind::chunked;
  auto const text = request_head(head_, framing, client_, upstream_->host(), *settings_,
                                 worker_.shared().via, upgrade_);
  std::vector<net::const_buffer> parts{buffer_of(text)};
  Error const error = co_await backend_->write(parts, within(settings_->body_timeout));
  co_return error;
}

Task<Error> Exchange::read_response_head() {
  if (!parser_.is_done()) begin_upload();
  // While a body is on its way its end is not waited for: upload() sets the deadline then.
  if (!uploading_) backend_->reading().within(within(settings_->response_timeout));
  else if (attempt_deadline_ != Clock::time_point::max()) backend_->reading().at(attempt_deadline_);
  Error error;
  constexpr int max_interim = 16;
  for (int interim = 0; interim < max_interim; ++interim) {
    error = co_await read_one_head();
    if (error) co_return error;
    auto const status = response_head_.status;
    if (status >= 200 || status == 101) {
      backend_->reading().none();
      co_return error;
    }
    if (status == 100 || head_.version < 11) continue;
    auto const text = response_head(response_head_, {}, Persistence::keep_alive, head_.version);
    error = co_await write_to_client(text);
    if (error) co_return error;
  }
  co_return Error{http::error::bad_status};
}

Task<Error> Exchange::read_one_head() {
  response_.reset();
  if (client_error_) co_return net::error::operation_aborted;  // found before anything was read
  auto error = co_await read_head(*backend_, response_head_, settings_->max_header, true);
  heard_ = heard_ || !backend_->unread().empty() || !error;
  if (error) co_return error;
  response_.emplace(response_head_);
  response_->skip(head_.verb == http::verb::head);
  error = response_->parse_head();
  if (!error && response_head_.count(http::field::transfer_encoding) != 0 && !response_->chunked())
    error = http::error::bad_transfer_encoding;
  if (error) response_.reset();
  co_return error;
}

Outcome Exchange::outcome_of_head() const {
  auto const status = response_head_.status;
  if (status == 101) return upgrade_.empty() ? Outcome{Result::error} : Outcome{};
  auto outcome = poise::outcome_of_http(static_cast<int>(status));
  if (outcome.result == Result::overloaded) {
    auto const after = response_head_[http::field::retry_after];
    constexpr std::size_t most_digits = 6;
    if (!after.empty() && after.size() <= most_digits &&
        after.find_first_not_of("0123456789") == std::string_view::npos)
      outcome.retry_after = std::chrono::seconds{std::stol(std::string{after})};
  }
  return outcome;
}

/// The backend closed a connection that it had kept, before it saw the request.
bool Exchange::was_stale(Error error) const {
  bool const is_closed = error == net::error::eof || error == net::error::connection_reset ||
                         error == net::error::broken_pipe;
  return reused_ && !heard_ && is_closed && request_.idempotent && !body_begun_ && !client_error_;
}

std::optional<Duration> Exchange::pause_before_next(Lease const& lease, Outcome outcome) {
  if (outcome.result == Result::success || outcome.result == Result::rejected) return std::nullopt;
  if (body_begun_ && outcome.sent) return std::nullopt;
  if (std::ranges::find(tried_, lease.serial()) == tried_.end()) tried_.push_back(lease.serial());
  request_.excluded = tried_;
  auto const decision = worker_.service().balancer().decide(request_, outcome);
  if (!decision.retry || Clock::now() + decision.after >= deadline_) return std::nullopt;
  ++worker_.shared().totals.retries;
  return decision.after;
}

void Exchange::note(Lease const& lease, Outcome outcome) {
  if (worker_.access_log() == nullptr) return;
  attempts_.push_back(
      {.id = lease->id(), .outcome = outcome, .latency = latency_, .repeated = lease.repeated()});
}

Task<void> Exchange::wait(Duration pause) {
  if (pause <= Duration::zero()) co_return;
  net::steady_timer timer{worker_.context(), pause};
  Error ignored;
  co_await timer.async_wait(into(ignored));
}

/// The limit of a phase, or what the attempt has left.
Duration Exchange::within(Duration limit) const {
  if (attempt_deadline_ == Clock::time_point::max()) return limit;
  return std::clamp(attempt_deadline_ - Clock::now(), Duration::zero(), limit);
}

// -- the request's body ---------------------------------------------------------------------------

void Exchange::begin_upload() {
  uploading_ = true;
  stopping_ = false;
  if (!upload_ended_) upload_ended_.emplace(worker_.context());
  net::co_spawn(worker_.context(), upload(), [this](auto const& thrown) { uploaded(thrown); });
}

Task<void> Exchange::upload() {
  Error error;
  if (expects_continue_ && stream_.unread().empty() && !say_continue())
    client_error_ = net::error::broken_pipe;
  while (!parser_.is_done() && !client_error_ && !error && !stopping_)
    error = co_await upload_part();
  if (client_error_) backend_->cancel();
  else if (!response_) backend_->reading().within(within(settings_->response_timeout));
}

void Exchange::uploaded(std::exception_ptr const& thrown) {
  if (thrown) {  // memory ran out
    stream_.close();
    if (backend_) backend_->close();
  }
  uploading_ = false;
  upload_ended_->cancel();
}

/// *Errors* the backend takes no more: what it answers is still read.
Task<Error> Exchange::upload_part() {
  std::size_t used = 0;
  auto error = co_await read_body(stream_, parser_, used, settings_->body_timeout);
  if (error == net::error::operation_aborted) co_return error;
  if (error) {
    client_error_ = error;
    co_return error;
  }
  body_begun_ = true;
  if (stopping_) co_return net::error::operation_aborted;
  std::size_t size = 0;
  for (auto const& each : parser_.pieces()) size += each.size();
  body_in_ += size;
  std::string line;
  std::vector<net::const_buffer> parts;
  if (parser_.chunked() && size != 0) {
    line = chunk_line(size);
    parts.push_back(buffer_of(line));
  }
  parts.insert(parts.end(), parser_.pieces().begin(), parser_.pieces().end());
  if (parser_.chunked()) parts.push_back(buffer_of(chunk_end(size != 0, parser_.is_done())));
  error = co_await backend_->write(parts, settings_->body_timeout);
  stream_.consume(used);
  co_return error;
}

/// Waits until nothing of this exchange uses the streams beside it. If the body is not whole, the
/// connection can't be used again.
Task<void> Exchange::end_upload() {
  constexpr auto again = std::chrono::milliseconds{20};  // it may just have begun a next read
  while (uploading_) {
    stopping_ = true;
    stream_.cancel();
    if (backend_) backend_->cancel();
    Error ignored;
    upload_ended_->expires_after(again);
    co_await upload_ended_->async_wait(into(ignored));
  }
  if (!parser_.is_done() && answered_) keep_alive_ = false;
}

/// A few bytes into a buffer that is empty: they fit, or the client reads nothing.
bool Exchange::say_continue() {
  if (answered_) return true;
  expects_continue_ = false;
  constexpr std::string_view text = "HTTP/1.1 100 Continue\r\n\r\n";
  auto const sent = ::send(stream_.socket().native_handle(), text.data(), text.size(),
                           MSG_NOSIGNAL | MSG_DONTWAIT);
  return sent == static_cast<ssize_t>(text.size());
}

}  // namespace gateway
