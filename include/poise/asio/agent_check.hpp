// SPDX-License-Identifier: MIT
#pragma once

// Tells HAProxy what poise knows of its servers, by HAProxy's agent-check: who is drained, who is
// down, and who warms up. HAProxy asks each server's agent; one agent here answers for all of them.
//
//   poise::asio::AgentCheck agent{loop.get_executor(), {asio::ip::address_v4::loopback(), 9707},
//                                 servers};
//
//   # haproxy.cfg; agent-send is the backend's id in poise
//   server a 10.0.0.1:80 check agent-check agent-inter 1s
//          agent-addr 127.0.0.1 agent-port 9707 agent-send "10.0.0.1:80\n"
//
// A server whose own program holds the agent says what it likes by a function, which is given the
// text of agent-send, or "" without one:
//
//   poise::asio::AgentCheck agent{executor, endpoint, [&](std::string const&) -> std::string {
//     return stopping ? "drain" : "up ready 100%";
//   }};
//
// An id that the balancer does not know gets no answer: HAProxy keeps what it knew. The agent reads
// at most 1 KiB, waits 100 ms for it, and serves at most 256 connections at a time.

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include <asio/any_io_executor.hpp>
#include <asio/buffer.hpp>
#include <asio/ip/tcp.hpp>
#include <asio/post.hpp>
#include <asio/steady_timer.hpp>
#include <asio/strand.hpp>
#include <asio/write.hpp>

#include <poise/asio/ending.hpp>
#include <poise/backend.hpp>
#include <poise/sync/relaxed.hpp>

namespace poise::inline v0_1_0::asio {

/// What HAProxy is told of a backend: drained or weight 0 is "drain", unhealthy "down", degraded
/// half of its weight, and one that warms up as much as poise lets in.
[[nodiscard]] inline std::string agent_answer(Backend const& backend) {
  if (backend.drained() || backend.weight() == 0) return "up drain";
  if (backend.health() == HealthState::unhealthy) return "down #unhealthy in poise";
  double const share = std::ldexp(static_cast<double>(backend.admission().share) + 1, -32) *
                       (backend.health() == HealthState::degraded ? 0.5 : 1);
  return "up ready " + std::to_string(std::max(1L, std::lround(100 * share))) + "%";
}

/// *Threads* runs on a strand of the executor. It may be destroyed at any time before the loop, on
/// any thread; once its destructor has returned, it no longer uses the balancer.
class AgentCheck {
  using Tcp = ::asio::ip::tcp;

 public:
  /// The answer for the text that HAProxy sent, without an end of line; "" is no answer.
  using Answer = std::function<std::string(std::string const& asked)>;

  /// *Errors* std::system_error: the address can't be listened on.
  AgentCheck(::asio::any_io_executor const& executor, Tcp::endpoint const& address, Answer answer)
      : state_{std::make_shared<State>(executor, address, std::move(answer))} {
    ::asio::post(state_->strand, [state = state_] { state->alive.use([&] { state->accept(); }); });
  }
  /// Answers for the backends of a balancer. *Requires* that the balancer outlives it, and is not
  /// moved.
  template <class Balancer>
    requires requires(Balancer& balancer) { balancer.find(""); }
  AgentCheck(::asio::any_io_executor const& executor, Tcp::endpoint const& address,
             Balancer& balancer)
      : AgentCheck{executor, address, [&balancer](std::string const& id) {
                     auto const backend = balancer.find(id);
                     return backend ? agent_answer(*backend) : std::string{};
                   }} {}
  AgentCheck(AgentCheck const&) = delete;
  AgentCheck& operator=(AgentCheck const&) = delete;
  ~AgentCheck() {
    state_->alive.end();
    ::asio::post(state_->strand, [state = state_] { state->stop(); });
  }

  /// The port that it listens on: for an address with port 0.
  [[nodiscard]] std::uint16_t port() const noexcept { return state_->port; }
  /// Questions that got no answer: unknown ids, or an answer that threw.
  [[nodiscard]] std::uint64_t unanswered() const noexcept { return state_->unanswered.load(); }

 private:
  static constexpr std::size_t max_text = 1024;
  static constexpr std::size_t max_connections = 256;
  static constexpr std::chrono::milliseconds patience{100};

  struct Session {
    explicit Session(Tcp::socket with) : socket{std::move(with)}, timer{socket.get_executor()} {}
    Tcp::socket socket;
    ::asio::steady_timer timer;
    std::array<char, max_text> text;
    std::size_t size = 0;
    bool answered = false;
    [[nodiscard]] std::string_view asked() const { return {text.data(), size}; }
  };
  using SessionPtr = std::shared_ptr<Session>;

  struct State : std::enable_shared_from_this<State> {
    State(::asio::any_io_executor const& executor, Tcp::endpoint const& address, Answer with)
        : strand{::asio::make_strand(executor)},
          acceptor{strand, address},
          pause{strand},
          port{acceptor.local_endpoint().port()},
          answer{std::move(with)} {}

    void accept() {
      acceptor.async_accept([self = shared_from_this()](std::error_code error, Tcp::socket socket) {
        self->alive.use([&] { self->accepted(error, std::move(socket)); });
      });
    }
    void accepted(std::error_code error, Tcp::socket socket) {
      if (!acceptor.is_open()) return;
      if (!error && connections < max_connections)
        begin(std::make_shared<Session>(std::move(socket)));
      if (!error) return accept();
      pause.expires_after(patience);  // out of descriptors, say
      pause.async_wait([self = shared_from_this()](std::error_code) {
        self->alive.use([&] {
          if (self->acceptor.is_open()) self->accept();
        });
      });
    }

    void begin(SessionPtr const& session) {
      ++connections;
      session->timer.expires_after(patience);
      session->timer.async_wait([self = shared_from_this(), session](std::error_code error) {
        if (!error) self->alive.use([&] { self->reply(session); });
      });
      read(session);
    }
    void read(SessionPtr const& session) {
      session->socket.async_read_some(
          ::asio::buffer(session->text) + session->size,
          [self = shared_from_this(), session](std::error_code error, std::size_t size) {
            session->size += size;
            self->alive.use([&] { self->read_some(session, error, size); });
          });
    }
    void read_some(SessionPtr const& session, std::error_code error, std::size_t size) {
      auto const part = session->asked().substr(session->size - size);
      bool const whole = part.find('\n') != part.npos || session->size == session->text.size();
      if (error || whole) reply(session);
      else if (!session->answered) read(session);
    }
    /// To a line, to what came in time, or to a peer that sent nothing.
    void reply(SessionPtr const& session) {
      if (std::exchange(session->answered, true)) return;
      session->timer.cancel();
      auto const asked = session->asked();
      auto line = std::make_shared<std::string>(
          answer_to(std::string{asked.substr(0, asked.find_first_of("\r\n"))}));
      if (line->empty()) return end(session);
      *line += '\n';
      ::asio::async_write(session->socket, ::asio::buffer(*line),
                          [self = shared_from_this(), session, line](std::error_code, std::size_t) {
                            self->end(session);
                          });
    }
    void end(SessionPtr const& session) {
      std::error_code ignored;
      (void)session->socket.shutdown(Tcp::socket::shutdown_send, ignored);
      (void)session->socket.close(ignored);
      --connections;
    }
    std::string answer_to(std::string const& text) {
      try {
        if (auto line = answer(text); !line.empty()) return line;
      } catch (...) {  // NOLINT(bugprone-empty-catch): counted below
      }
      unanswered.add(1);
      return {};
    }
    void stop() {
      std::error_code ignored;
      (void)acceptor.close(ignored);
      pause.cancel();
    }

    ::asio::any_io_executor strand;
    Tcp::acceptor acceptor;
    ::asio::steady_timer pause;
    std::uint16_t const port;
    Answer answer;
    detail::Guarded alive{};
    std::size_t connections = 0;
    sync::Relaxed<std::uint64_t> unanswered{0};
  };

  std::shared_ptr<State> state_;
};

}  // namespace poise::inline v0_1_0::asio
