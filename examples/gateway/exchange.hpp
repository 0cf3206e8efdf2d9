// SPDX-License-Identifier: MIT
#pragma once

// One request: its attempts at backends, and its response.
//
// What can be repeated, and when: a request of which the backend saw nothing, always. A request
// that it may have seen, only if its method is idempotent and none of its body was read from the
// client: the gateway keeps no bodies. A response that has begun, never. The balancer's policy
// decides on the rest ([retry] of the configuration).

#include <chrono>
#include <cstdint>
#include <exception>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <boost/asio/steady_timer.hpp>
#include <poise/call.hpp>
#include <poise/outcome.hpp>
#include <poise/request.hpp>

#include "fields.hpp"
#include "message.hpp"
#include "net.hpp"
#include "stream.hpp"
#include "worker.hpp"

namespace gateway {

class Exchange {
 public:
  /// All must live until run() is over. `head` was parsed and not refused.
  Exchange(Worker& worker, Stream& stream, Head const& head, RequestParser& parser,
           Client const& client);

  /// True if the client may send its next request on this connection.
  Task<bool> run();

 private:
  using Lease = Service::Balancer::Lease;
  using Outcome = poise::Outcome;
  using Result = poise::Result;

  // -- attempts ----------------------------------------------------------------------------------

  Task<Lease> pick();
  Task<bool> run_attempt(Lease lease);
  Task<void> end_without_client(Lease lease);
  Task<Outcome> attempt(Upstream& upstream);
  Task<Error> begin(Upstream& upstream, bool fresh);
  Task<Error> send_head();
  Task<Error> read_response_head();
  Task<Error> read_one_head();
  [[nodiscard]] Outcome outcome_of_head() const;
  [[nodiscard]] std::optional<Duration> pause_before_next(Lease const& lease, Outcome outcome);
  void note(Lease const& lease, Outcome outcome);
  void take_load_report(Lease& lease);
  Task<void> wait(Duration pause);
  [[nodiscard]] Duration within(Duration limit) const;
  [[nodiscard]] bool was_stale(Error error) const;

  // -- the request's body, beside the response ---------------------------------------------------

  void begin_upload();
  Task<void> upload();
  void uploaded(std::exception_ptr const& thrown);
  Task<Error> upload_part();
  Task<void> end_upload();
  [[nodiscard]] bool say_continue();

  // -- the response ------------------------------------------------------------------------------

  Task<Outcome> deliver();
  Task<Outcome> deliver_body(std::string head, Framing framing);
  Task<Outcome> tunnel(std::string head);
  Task<void> copy(Stream& from, Stream& to);
  [[nodiscard]] Outcome cut_off(Error error, Framing framing);
  [[nodiscard]] Framing framing_of_response() const;
  [[nodiscard]] bool can_keep_backend() const;
  Task<void> answer(unsigned status, std::string_view text, long retry_after = 0);
  Task<void> answer_for(Outcome outcome);
  Task<void> answer_without(poise::Error error);
  Task<Error> write_to_client(std::string_view text);
  void write_log() const;

  Worker& worker_;
  std::shared_ptr<Settings const> const settings_;  // of the moment when it began
  Stream& stream_;
  Head const& head_;
  RequestParser& parser_;
  Client const& client_;
  Clock::time_point const began_ = Clock::now();

  poise::Request request_{};
  Outcome last_{Result::cancelled, false};  // of the last attempt
  std::string_view const upgrade_;
  Clock::time_point deadline_ = Clock::time_point::max();  // of the whole request
  Clock::time_point attempt_deadline_ = Clock::time_point::max();
  Duration attempt_timeout_{};
  std::vector<std::uint64_t> tried_{};
  std::vector<poise::AttemptReport> attempts_{};

  Upstream* upstream_ = nullptr;  // of the attempt, which its lease keeps alive
  std::unique_ptr<Stream> backend_{};
  Head response_head_{};
  std::optional<ResponseParser> response_{};
  bool reused_ = false;  // the backend's connection had a request before
  bool heard_ = false;   // the backend sent something
  bool expects_continue_ = false;
  bool keep_alive_;
  bool client_failed_ = false;

  std::optional<net::steady_timer> upload_ended_{};  // waits for the upload's end
  bool uploading_ = false;
  bool stopping_ = false;    // the upload is to end
  bool body_begun_ = false;  // some of it left the client's buffer: it can't be sent again
  bool answered_ = false;    // a response has begun
  std::uint64_t body_in_ = 0;
  std::uint64_t body_out_ = 0;
  unsigned status_ = 0;
  std::optional<Error> client_error_{};  // of the request's body
  Clock::time_point last_activity_{};    // of a tunnel
  std::optional<Duration> latency_{};    // until the response's head
};

}  // namespace gateway
