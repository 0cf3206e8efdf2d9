// SPDX-License-Identifier: MIT

#include "worker.hpp"

#include <algorithm>
#include <chrono>
#include <exception>
#include <memory>
#include <string>
#include <utility>

#include <sys/socket.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/post.hpp>

#include "connection.hpp"
#include "fields.hpp"

namespace gateway {

using net::ip::tcp;

Worker::Worker(int listener, bool is_v6, Settings const& settings, AccessLog* access_log,
               Shared& shared)
    : settings_{std::make_shared<Settings const>(settings)},
      access_log_{access_log},
      shared_{shared} {
  deadlines_.start(context_);
  acceptor_.assign(is_v6 ? tcp::v6() : tcp::v4(), listener);
}

Worker::~Worker() {
  draining_ = false;  // the last connections end without a word
  deadlines_.stop();
}

void Worker::start(Service& service) {
  service_ = &service;
  accept();
  look_after();
  thread_ = std::thread{[this] {
    while (!context_.stopped()) try {
        context_.run();
      } catch (std::exception const& error) {  // memory ran out: one connection ends
        shared_.log(std::string{"a connection ended: "} + error.what());
      }
    ended_ = true;
  }};
}

void Worker::set(Settings const& settings) {
  net::post(context_,
            [this, fresh = std::make_shared<Settings const>(settings)] { settings_ = fresh; });
}

void Worker::forget(std::uint64_t upstream) {
  net::post(context_, [this, upstream] { idle_.forget(upstream); });
}

void Worker::drain() {
  net::post(context_, [this] {
    draining_ = true;
    Error ignored;
    // NOLINTNEXTLINE(bugprone-unused-return-value): it is in `ignored`, too
    acceptor_.close(ignored);
    pause_.cancel();
    for (auto* each : Connections{connections_}) each->drain();
    look_whether_done();
  });
}

void Worker::abort() { context_.stop(); }

void Worker::look_whether_done() {
  if (!draining_ || !connections_.empty()) return;
  second_.cancel();
  idle_.clear();
}

void Worker::accept() {
  acceptor_.async_accept([this](Error error, net::basic_stream_socket<tcp, Executor> socket) {
    if (draining_) return;
    if (!error) {
      accept();  // first: what follows may throw
      admit(std::move(socket));
      return;
    }
    // Out of descriptors, say: try again a little later.
    pause_.expires_after(std::chrono::milliseconds{100});
    pause_.async_wait([this](Error stopped) {
      if (!stopped) accept();
    });
  });
}

void Worker::admit(net::basic_stream_socket<tcp, Executor> socket) {
  ++shared_.totals.connections;
  Error error;
  auto const peer = socket.remote_endpoint(error);
  if (error) return;  // it is gone already
  // NOLINTNEXTLINE(bugprone-unused-return-value): it is in `error`, too
  socket.set_option(tcp::no_delay{true}, error);
  if (shared_.clients.load() >= settings_->max_connections) {
    ++shared_.totals.turned_away;
    auto const text = own_response(503, "there are too many connections", false, false, 1);
    (void)::send(socket.native_handle(), text.data(), text.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    return;
  }
  ++shared_.clients;
  Client client{.address = peer.address().to_string(), .is_v6 = peer.address().is_v6()};
  net::co_spawn(context_,
                Connection::run(std::make_unique<Connection>(*this, Socket{std::move(socket)},
                                                             std::move(client))),
                net::detached);
}

void Worker::look_after() {
  second_.expires_after(std::chrono::seconds{1});
  second_.async_wait([this](Error stopped) {
    if (stopped || (draining_ && connections_.empty())) return;
    idle_.close_older_than(settings_->backend_idle);
    if (access_log_ != nullptr) access_log_->flush();
    look_after();
  });
}

}  // namespace gateway
