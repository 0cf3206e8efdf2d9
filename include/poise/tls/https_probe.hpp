// SPDX-License-Identifier: MIT
#pragma once

// HTTP probes over TLS.
//
//   poise::asio::HttpsProbe const probe{"/up", {.body = "ready"}, "api.internal"};
//   poise::asio::Prober prober{loop.get_executor(), servers, monitor, probe};
//
// The certificate is verified: its chain, its dates, and its names. It must contain the host that
// you give, or else the host of the backend's address, a name or a number. The cause of a failure
// says what is wrong: "tls: certificate has expired".
//
// Needs OpenSSL 1.1.1 or later beside Asio: link poise::tls, after find_package(OpenSSL) or by
// find_package(poise COMPONENTS tls).

#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include <openssl/ssl.h>
#include <openssl/x509_vfy.h>
#include <openssl/x509v3.h>
#include <asio/any_io_executor.hpp>
#include <asio/ip/address.hpp>
#include <asio/ssl/context.hpp>
#include <asio/ssl/stream.hpp>

#include <poise/asio/probe.hpp>
#include <poise/error.hpp>
#include <poise/probe/http_answer.hpp>

namespace poise::inline v0_1_0::asio {

/// Which certificates a probe accepts.
struct TlsOptions {
  bool verify = true;     ///< False: any server passes, whatever its certificate.
  std::string ca_file{};  ///< PEM; the authorities to trust. Empty: those of the system.
  /// Called last, to change the context: a client certificate, ciphers, versions (the minimum is
  /// 1.2).
  std::function<void(::asio::ssl::context&)> configure{};
};

namespace detail {

/// The name that the certificate must contain.
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
      : HttpConnection{executor, std::move(done), question, address},
        context_{std::move(context)},
        stream_{socket(), *context_},
        name_{name_to_verify(question.host, address)},
        verify_{verify} {}

 private:
  void on_connected() override {
    if (auto const error = name_host(); !error.empty()) return finish(false, "tls: " + error);
    stream_.async_handshake(
        ::asio::ssl::stream_base::client, [self = shared_from_this(), this](std::error_code error) {
          if (is_over()) return;
          if (error) return finish(false, "tls: " + what(error), is_local_failure(error));
          ask(stream_);
        });
  }

  /// Sets the host name of SNI and the name that OpenSSL expects. Returns a problem, or nothing.
  /// The name must be an alternative name of the certificate. The common name has not counted since
  /// RFC 6125, and may be anything in a certificate for an IP address.
  std::string name_host() {
    auto* const ssl = stream_.native_handle();
    if (name_.empty())
      return verify_ ? "a unix socket has no name to verify: give asio::HttpsProbe a host" : "";
    bool const number = is_number(name_);
    auto* const wanted = SSL_get0_param(ssl);
    X509_VERIFY_PARAM_set_hostflags(
        wanted, X509_CHECK_FLAG_NEVER_CHECK_SUBJECT | X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    bool done = number || SSL_set_tlsext_host_name(ssl, name_.c_str()) == 1;
    if (verify_ && number) done = X509_VERIFY_PARAM_set1_ip_asc(wanted, name_.c_str()) == 1;
    if (verify_ && !number)
      done = done && X509_VERIFY_PARAM_set1_host(wanted, name_.c_str(), name_.size()) == 1;
    return done ? "" : poise::detail::in_quotes(name_) + " can't be a certificate's name";
  }

  /// The reason of a failed verification: the error itself only says "certificate verify failed".
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

/// HttpProbe over TLS. `host` is sent to the server (SNI, Host), and its certificate must contain
/// it. Give it if addresses are numbers and certificates contain names.
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
      poise::detail::reject_option("ca_file of asio::TlsOptions", poise::detail::in_quotes(ca_file),
                                   "it must be certificates in PEM: " + error.message());
  }

  detail::HttpQuestion question_;
  bool verify_;
  /// Not changed after it is made; shared with probes that outlive this object.
  std::shared_ptr<::asio::ssl::context> context_ =
      std::make_shared<::asio::ssl::context>(::asio::ssl::context::tls_client);
};

}  // namespace poise::inline v0_1_0::asio
