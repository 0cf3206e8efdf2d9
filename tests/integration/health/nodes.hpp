// SPDX-License-Identifier: MIT
#pragma once

// Real servers on loopback that can be made to misbehave, on an event loop with a thread of its
// own.

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <future>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <utility>

#include <asio.hpp>

namespace tests {

/// An event loop and its one thread.
class Loop {
 public:
  Loop() : thread_{[this] { context_.run(); }} {}
  ~Loop() {
    context_.stop();
    thread_.join();
  }
  Loop(Loop const&) = delete;
  Loop& operator=(Loop const&) = delete;
  asio::io_context& context() { return context_; }
  asio::any_io_executor executor() { return context_.get_executor(); }

  /// Runs `call` on the loop's thread and waits for it.
  template <class Call>
  void run(Call const& call) {
    std::promise<void> done;
    asio::post(context_, [&] {
      call();
      done.set_value();
    });
    done.get_future().wait();
  }

 private:
  asio::io_context context_{1};
  asio::executor_work_guard<asio::io_context::executor_type> work_{context_.get_executor()};
  std::thread thread_;
};

/// What a server does with a request.
enum class Manner {
  good,       // 200, "ready"
  failing,    // 500 at once
  slow,       // 200 after 50 ms
  hung,       // accepts, never answers
  resetting,  // half an answer, then a reset
  garbage,    // no HTTP
  endless,    // a head that never ends
};

/// One HTTP server. kill() closes its port, revive() opens the same one again.
class WebServer {
 public:
  explicit WebServer(Loop& loop, Manner manner = Manner::good)
      : loop_{loop}, state_{std::make_shared<State>(loop.context())} {
    state_->manner = manner;
    loop_.run([&] { state_->open(0); });
    port_ = state_->port;
  }
  ~WebServer() { kill(); }
  WebServer(WebServer const&) = delete;
  WebServer& operator=(WebServer const&) = delete;

  [[nodiscard]] std::string address() const { return "127.0.0.1:" + std::to_string(port_); }
  void behave(Manner manner) {
    loop_.run([&] { state_->manner = manner; });
  }
  void kill() {
    loop_.run([&] { state_->close(); });
  }
  void revive() {
    loop_.run([&] { state_->open(port_); });
  }
  [[nodiscard]] std::size_t requests() {
    std::size_t count = 0;
    loop_.run([&] { count = state_->requests; });
    return count;
  }

 private:
  using Tcp = asio::ip::tcp;
  struct State;

  struct Session : std::enable_shared_from_this<Session> {
    Session(Tcp::socket accepted, std::shared_ptr<State> const& owner)
        : socket{std::move(accepted)}, timer{socket.get_executor()}, state{owner} {}
    void read() {
      socket.async_read_some(asio::buffer(buffer), [self = this->shared_from_this()](
                                                       std::error_code error, std::size_t size) {
        auto const owner = self->state.lock();
        if (!owner) return;
        if (error) return void(owner->sessions.erase(self));
        self->request.append(self->buffer.data(), size);
        if (self->request.find("\r\n\r\n") == std::string::npos) return self->read();
        ++owner->requests;
        self->answer(owner->manner);
      });
    }
    void answer(Manner manner) {
      switch (manner) {
        case Manner::good: return write("HTTP/1.0 200 OK\r\nServer: test\r\n\r\nready\n", true);
        case Manner::failing: return write("HTTP/1.0 500 No\r\n\r\n", true);
        case Manner::garbage: return write("220 mail.example.org ESMTP\r\n", true);
        case Manner::endless:
          return write("HTTP/1.0 200 OK\r\nX: " + std::string(4096, 'x'), false);
        case Manner::resetting: {
          std::error_code ignored;
          asio::write(socket, asio::buffer(std::string{"HTTP/1.0 2"}), ignored);
          socket.set_option(asio::socket_base::linger{true, 0}, ignored);
          return close();
        }
        case Manner::slow:
          timer.expires_after(std::chrono::milliseconds{50});
          return timer.async_wait(
              [self = this->shared_from_this()](std::error_code) { self->answer(Manner::good); });
        case Manner::hung: return;  // the session waits among the others
      }
    }
    void write(std::string answer_text, bool last) {
      text = std::move(answer_text);
      asio::async_write(
          socket, asio::buffer(text),
          [self = this->shared_from_this(), last](std::error_code error, std::size_t) {
            if (!error && !last) return self->write(std::string(4096, 'x'), false);
            self->close();
          });
    }
    void close() {
      std::error_code ignored;
      socket.close(ignored);
      if (auto const owner = state.lock()) owner->sessions.erase(this->shared_from_this());
    }

    Tcp::socket socket;
    asio::steady_timer timer;
    std::weak_ptr<State> state;
    std::array<char, 1024> buffer{};
    std::string request{};
    std::string text{};
  };

  struct State : std::enable_shared_from_this<State> {
    explicit State(asio::io_context& context) : acceptor{context} {}
    void open(std::uint16_t wanted) {
      Tcp::endpoint const endpoint{asio::ip::address_v4::loopback(), wanted};
      acceptor.open(endpoint.protocol());
      acceptor.set_option(Tcp::acceptor::reuse_address{true});
      acceptor.bind(endpoint);
      acceptor.listen(4096);
      port = acceptor.local_endpoint().port();
      accept();
    }
    void accept() {
      acceptor.async_accept([self = shared_from_this()](std::error_code error, Tcp::socket socket) {
        if (error) return;
        auto session = std::make_shared<Session>(std::move(socket), self);
        self->sessions.insert(session);
        session->read();
        self->accept();
      });
    }
    void close() {
      std::error_code ignored;
      acceptor.close(ignored);
      for (auto const& session : std::exchange(sessions, {})) session->socket.close(ignored);
    }
    Tcp::acceptor acceptor;
    Manner manner = Manner::good;
    std::uint16_t port = 0;
    std::size_t requests = 0;
    std::set<std::shared_ptr<Session>> sessions{};
  };

  Loop& loop_;
  std::shared_ptr<State> state_;
  std::uint16_t port_ = 0;
};

}  // namespace tests
