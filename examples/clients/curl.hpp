// SPDX-License-Identifier: MIT
#pragma once

// An HTTP client over libcurl that poise can balance, and what libcurl's errors say of a backend.
//
//   outcome                 libcurl
//   refused                 could not connect, or not resolve the name: nothing was sent
//   connect timeout         timed out before the connection stood: nothing was sent
//   timeout                 timed out later
//   reset                   the connection broke: send, receive, nothing or only a part came
//   cancelled               our own callback ended it
//   rejected                the request itself is wrong: a bad URL, an unknown protocol
//   error                   anything else, a failed TLS handshake among it
//   by status               an answer came: 429 and 503 are overloaded, with its Retry-After

#include <curl/curl.h>

#include <chrono>
#include <cstddef>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>

#include <poise/outcome.hpp>
#include <poise/time.hpp>

namespace clients {

struct CurlReply {
  CURLcode code = CURLE_OK;
  bool connected = false;
  int status = 0;
  std::chrono::seconds retry_after{};
  std::string body{};
};

inline poise::Outcome outcome_of(CurlReply const& reply) {
  using poise::Ending;
  switch (reply.code) {
    case CURLE_OK: {
      auto outcome = poise::outcome_of_http(reply.status);
      outcome.retry_after = reply.retry_after;
      return outcome;
    }
    case CURLE_COULDNT_CONNECT:
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_RESOLVE_PROXY: return Ending::refused;
    case CURLE_OPERATION_TIMEDOUT:
      return reply.connected ? Ending::timeout : Ending::connect_timeout;
    case CURLE_SEND_ERROR:
    case CURLE_RECV_ERROR:
    case CURLE_GOT_NOTHING:
    case CURLE_PARTIAL_FILE: return Ending::reset;
    case CURLE_ABORTED_BY_CALLBACK: return Ending::cancelled;
    case CURLE_URL_MALFORMAT:
    case CURLE_UNSUPPORTED_PROTOCOL: return Ending::rejected;
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_PEER_FAILED_VERIFICATION: return {Ending::error, false};
    default: return Ending::error;
  }
}

/// One handle, which keeps connections open between requests: one per thread.
class Curl {
 public:
  Curl() : handle_{curl_easy_init(), &curl_easy_cleanup} {
    if (!handle_) throw std::runtime_error{"libcurl gives no handle"};
    set(CURLOPT_NOSIGNAL, 1L);
    set(CURLOPT_WRITEFUNCTION, &append);
  }

  /// A GET that ends by itself when `timeout` is over; without one, when libcurl gives up.
  CurlReply get(std::string const& url, std::optional<poise::Duration> timeout) {
    CurlReply reply;
    set(CURLOPT_URL, url.c_str());
    set(CURLOPT_WRITEDATA, &reply.body);
    set(CURLOPT_TIMEOUT_MS, timeout ? milliseconds(*timeout) : 0L);
    reply.code = curl_easy_perform(handle_.get());
    // Of a connection that was open already, libcurl says 0 as of one that never stood.
    reply.connected =
        get<curl_off_t>(CURLINFO_CONNECT_TIME_T) > 0 || get<long>(CURLINFO_NUM_CONNECTS) == 0;
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
  static std::size_t append(char* data, std::size_t, std::size_t size, void* body) {
    static_cast<std::string*>(body)->append(data, size);
    return size;
  }

  std::unique_ptr<CURL, void (*)(CURL*)> handle_;
};

}  // namespace clients
