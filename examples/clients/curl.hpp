// SPDX-License-Identifier: MIT
#pragma once

// An HTTP client over libcurl that poise can balance, and what libcurl's errors say of a backend.
//
//   outcome                 libcurl
//   refused                 could not connect, or not resolve the name: nothing was sent
//   connect timeout         timed out before the connection stood: nothing was sent
//   timeout                 timed out later
//   reset                   the connection broke: send, receive, nothing or only a part came
//   cancelled               our own callback ended it, or this process lacks file descriptors,
//                           ports
//                           or memory: nothing was sent
//   rejected                the request is wrong (a bad URL, an unknown protocol): nothing was sent
//   error                   anything else: no HTTP, a body beyond the limit, a failed TLS handshake
//   by status               an answer came: 429 and 503 are overloaded, with its Retry-After

#include <curl/curl.h>
#include <sys/socket.h>

#include <cerrno>
#include <chrono>
#include <cstddef>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <system_error>
#include <utility>

#include <poise/outcome.hpp>
#include <poise/time.hpp>

namespace clients {

struct CurlReply {
  CURLcode code = CURLE_OK;
  bool connected = false;
  bool sent = false;     ///< A part of the request, at least.
  int system_error = 0;  ///< errno of a failed socket or connect.
  int status = 0;
  std::chrono::seconds retry_after{};
  std::string body{};
};

inline poise::Outcome outcome_of(CurlReply const& reply) {
  using poise::Result;
  switch (reply.code) {
    case CURLE_OK: {
      auto outcome = poise::outcome_of_http(reply.status);
      outcome.retry_after = reply.retry_after;
      return outcome;
    }
    case CURLE_COULDNT_CONNECT: {
      std::error_code const error{reply.system_error, std::generic_category()};
      return poise::is_local_failure(error) ? poise::outcome_of(error) : Result::refused;
    }
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_RESOLVE_PROXY: return Result::refused;
    case CURLE_OPERATION_TIMEDOUT:
      return reply.connected ? Result::timeout : Result::connect_timeout;
    case CURLE_SEND_ERROR:
    case CURLE_RECV_ERROR:
    case CURLE_GOT_NOTHING:
    case CURLE_PARTIAL_FILE: return Result::reset;
    case CURLE_ABORTED_BY_CALLBACK: return Result::cancelled;
    case CURLE_OUT_OF_MEMORY: return {Result::cancelled, false};
    case CURLE_URL_MALFORMAT: return {Result::rejected, false};
    // Of the URL, or, once something was sent, of an answer that is no HTTP.
    case CURLE_UNSUPPORTED_PROTOCOL:
      return reply.sent ? Result::error : poise::Outcome{Result::rejected, false};
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_PEER_FAILED_VERIFICATION: return {Result::error, false};
    default: return Result::error;
  }
}

/// One handle, which keeps connections open between requests: one per thread.
class Curl {
 public:
  static constexpr std::size_t default_max_body = std::size_t{16} * 1024 * 1024;

  /// A body of more than `max_body` bytes ends the request, as an error of the backend.
  explicit Curl(std::size_t max_body = default_max_body)
      : handle_{curl_easy_init(), &curl_easy_cleanup}, max_body_{max_body} {
    if (!handle_) throw std::runtime_error{"libcurl gives no handle"};
    set(CURLOPT_NOSIGNAL, 1L);
    set(CURLOPT_WRITEFUNCTION, &append);
    set(CURLOPT_OPENSOCKETFUNCTION, &open_socket);
  }

  /// A GET that ends by itself when `timeout` is over; without one, when libcurl gives up.
  CurlReply get(std::string const& url, std::optional<poise::Duration> timeout) {
    CurlReply reply;
    set(CURLOPT_URL, url.c_str());
    Sink sink{&reply.body, max_body_};
    set(CURLOPT_WRITEDATA, &sink);
    set(CURLOPT_OPENSOCKETDATA, &reply.system_error);
    set(CURLOPT_TIMEOUT_MS, timeout ? milliseconds(*timeout) : 0L);
    reply.code = curl_easy_perform(handle_.get());
    // Of a connection that was open already, libcurl says 0 as of one that never stood.
    reply.connected =
        get<curl_off_t>(CURLINFO_CONNECT_TIME_T) > 0 || get<long>(CURLINFO_NUM_CONNECTS) == 0;
    reply.sent = get<long>(CURLINFO_REQUEST_SIZE) > 0;
    if (reply.system_error == 0)
      reply.system_error = static_cast<int>(get<long>(CURLINFO_OS_ERRNO));
    reply.status = static_cast<int>(get<long>(CURLINFO_RESPONSE_CODE));
    reply.retry_after = std::chrono::seconds{get<curl_off_t>(CURLINFO_RETRY_AFTER)};
    return reply;
  }

 private:
  template <class Value>
  void set(CURLoption option, Value value) {
    curl_easy_setopt(handle_.get(), option, value);
  }
  template <class Value>
  Value get(CURLINFO what) {
    Value value{};
    curl_easy_getinfo(handle_.get(), what, &value);
    return value;
  }
  /// At least one: to libcurl 0 means without end.
  static long milliseconds(poise::Duration time) {
    auto const whole = std::chrono::ceil<std::chrono::milliseconds>(time).count();
    return whole < 1 ? 1L : static_cast<long>(whole);
  }
  /// As libcurl does it, but libcurl does not say why there is no socket.
  static curl_socket_t open_socket(void* error, curlsocktype, curl_sockaddr* address) {
    int const file = ::socket(address->family, address->socktype, address->protocol);
    if (file < 0) *static_cast<int*>(error) = errno;
    return file < 0 ? CURL_SOCKET_BAD : file;
  }
  struct Sink {
    std::string* body;
    std::size_t max;
  };
  /// Any number but `size` ends the request.
  static std::size_t append(char* data, std::size_t, std::size_t size, void* to) {
    auto const& sink = *static_cast<Sink*>(to);
    if (size > sink.max - sink.body->size()) return size == 0 ? 0 : size - 1;
    sink.body->append(data, size);
    return size;
  }

  std::unique_ptr<CURL, void (*)(CURL*)> handle_;
  std::size_t max_body_;
};

}  // namespace clients
