// SPDX-License-Identifier: MIT
#pragma once

// HTTP probes over TLS, for backends that speak nothing else.
//
//   poise::asio::HttpsProbe const probe{"/up", {.body = "ready"}, "api.internal"};
//   poise::asio::Prober prober{loop.get_executor(), servers, monitor, probe};
//
// The certificate is verified: its chain, its dates, and that it names the host you give, or else
// the host of the backend's address, be it a name or a number. What is wrong with it is the cause
// of the failure: "tls: certificate has expired".
//
// Needs OpenSSL 1.1.1 or later beside Asio: link poise::tls, after find_package(OpenSSL) or by
// find_package(poise COMPONENTS tls). Whoever does not include this header needs neither.

#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include <openssl/ssl.h>
#include <openssl/x509_vfy.h>
#include <asio/any_io_executor.hpp>
#include <asio/ip/address.hpp>
#include <asio/ssl/context.hpp>
#include <asio/ssl/stream.hpp>

#include <poise/asio/probe.hpp>
#include <poise/error.hpp>
#include <poise/health/http_answer.hpp>

namespace poise::asio {

struct TlsOptions {
  bool verify = true;     ///< Without it a probe tells that somebody works, not who.
  std::string ca_file{};  ///< PEM; who signs for your backends. Empty: whom the system trusts.
  /// A last word on the context: a certificate of your own, ciphers, versions (1.2 is the least).
  std::function<void(::asio::ssl::context&)> configure{};
};

namespace detail {

/// The name to be found in the certificate.
inline std::string name_to_verify(std::string const& host, std::string const& address) {
  auto const& text = host.empty() ? address : host;
  if (auto const parts = HostPort::of(text)) return parts->host;
  if (text.starts_with('[') && text.ends_with(']')) return text.substr(1, text.size() - 2);
  return text.starts_with("unix:") ? std::string{} : text;
}

inline bool is_number(std::string const& host) {
  std::error_code error;
  (void)::asio::ip::make_address(host, error);
  return !error;
}

class HttpsConnection final : public HttpConnection {
 public:
  HttpsConnection(::asio::any_io_executor const& executor, Done done, HttpQuestion const& question,
                  std::string const& address, std::shared_ptr<::asio::ssl::context> context,
                  bool verify)
      : HttpConnection{executor, std::move(done), question.text(address), question.expect},
        context_{std::move(context)},
        stream_{socket(), *context_},
        name_{name_to_verify(question.host, address)},
        verify_{verify} {}

 private:
  void on_connected() override {
    if (auto const error = name_host(); !error.empty()) return finish(false, "tls: " + error);
    stream_.async_handshake(::asio::ssl::stream_base::client,
                            [self = shared_from_this(), this](std::error_code error) {
                              if (is_over()) return;
                              if (error) return finish(false, "tls: " + what(error));
                              ask(stream_);
                            });
  }

  /// Tells the server whom it is asked for, and OpenSSL whom to expect. Returns what is wrong.
  std::string name_host() {
    auto* const ssl = stream_.native_handle();
    if (name_.empty())
      return verify_ ? "a unix socket has no name to verify: give asio::HttpsProbe a host" : "";
    bool const number = is_number(name_);
    auto* const wanted = SSL_get0_param(ssl);
    bool done = number || SSL_set_tlsext_host_name(ssl, name_.c_str()) == 1;
    if (verify_ && number) done = X509_VERIFY_PARAM_set1_ip_asc(wanted, name_.c_str()) == 1;
    if (verify_ && !number)
      done = done && X509_VERIFY_PARAM_set1_host(wanted, name_.c_str(), name_.size()) == 1;
    return done ? "" : poise::detail::in_quotes(name_) + " can't be a certificate's name";
  }

  /// OpenSSL says "certificate verify failed" of all that can be wrong with one.
  std::string what(std::error_code error) {
    auto const result = SSL_get_verify_result(stream_.native_handle());
    if (!verify_ || result == X509_V_OK) return error.message();
    std::string text = X509_verify_cert_error_string(result);
    bool const other =
        result == X509_V_ERR_HOSTNAME_MISMATCH || result == X509_V_ERR_IP_ADDRESS_MISMATCH;
    return text + (other ? ": it is not for " + poise::detail::in_quotes(name_) : "");
  }

  std::shared_ptr<::asio::ssl::context> context_;
  ::asio::ssl::stream<Socket&> stream_;
  std::string name_;
  bool verify_;
};

}  // namespace detail

/// As HttpProbe, over TLS. `host` is what the server is asked for (SNI, Host) and what its
/// certificate must name; give it where addresses are numbers and certificates have names.
/// *Errors* ConfigError: as HttpProbe; a ca_file that holds no certificates.
class HttpsProbe {
 public:
  explicit HttpsProbe(std::string path = "/", health::HttpExpectation expect = {},
                      std::string host = {}, TlsOptions const& tls = {})
      : question_{std::move(path), std::move(host), std::move(expect)}, verify_{tls.verify} {
    question_.check("asio::HttpsProbe");
    SSL_CTX_set_min_proto_version(context_->native_handle(), TLS1_2_VERSION);
    context_->set_verify_mode(verify_ ? ::asio::ssl::verify_peer : ::asio::ssl::verify_none);
    if (verify_) trust(tls.ca_file);
    if (tls.configure) tls.configure(*context_);
  }

  std::shared_ptr<Attempt> operator()(::asio::any_io_executor const& executor,
                                      std::string const& address, Done done) const {
    auto attempt = std::make_shared<detail::HttpsConnection>(executor, std::move(done), question_,
                                                             address, context_, verify_);
    attempt->start(address);
    return attempt;
  }

 private:
  void trust(std::string const& ca_file) {
    std::error_code error;
    if (ca_file.empty()) (void)context_->set_default_verify_paths(error);
    else (void)context_->load_verify_file(ca_file, error);
    if (error)
      health::detail::refuse("ca_file of asio::TlsOptions", poise::detail::in_quotes(ca_file),
                             "it must be certificates in PEM: " + error.message());
  }

  detail::HttpQuestion question_;
  bool verify_;
  /// Read only once it is made, and kept by probes that outlive this object.
  std::shared_ptr<::asio::ssl::context> context_ =
      std::make_shared<::asio::ssl::context>(::asio::ssl::context::tls_client);
};

}  // namespace poise::asio
