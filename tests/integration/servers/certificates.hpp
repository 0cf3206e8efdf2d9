// SPDX-License-Identifier: MIT
#pragma once

// Certificates made for a test: valid, expired, for another name, or of an unknown authority.

#include <cstddef>
#include <memory>
#include <stdexcept>
#include <string>

#include <openssl/bio.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

namespace tests {

/// In PEM.
struct Certificate {
  std::string chain{};
  std::string key{};
};

/// Signs certificates.
class Authority {
 public:
  explicit Authority(std::string name) : name_{std::move(name)}, certificate_{make()} {
    add(NID_basic_constraints, "critical,CA:TRUE");
    sign(certificate_.get());
  }

  /// For these names ("DNS:localhost,IP:127.0.0.1"), valid until so many seconds from now.
  [[nodiscard]] Certificate issue(std::string const& names, long seconds = 3600) const {
    Key const key{EVP_EC_gen("P-256"), &EVP_PKEY_free};
    X509Ptr const certificate{X509_new(), &X509_free};
    fill(certificate.get(), key.get(), "server", seconds);
    add(certificate.get(), NID_subject_alt_name, names.c_str());
    sign(certificate.get());
    return {text(certificate.get()), text(key.get())};
  }
  /// Its own certificate, signed by itself, and its key.
  [[nodiscard]] std::string pem() const { return text(certificate_.get()); }
  [[nodiscard]] std::string key() const { return text(key_.get()); }

 private:
  using Key = std::unique_ptr<EVP_PKEY, void (*)(EVP_PKEY*)>;
  using X509Ptr = std::unique_ptr<X509, void (*)(X509*)>;

  X509Ptr make() const {
    X509Ptr certificate{X509_new(), &X509_free};
    fill(certificate.get(), key_.get(), name_, 3600);
    return certificate;
  }
  void add(int extension, char const* value) const { add(certificate_.get(), extension, value); }

  void fill(X509* certificate, EVP_PKEY* key, std::string const& subject, long seconds) const {
    static long serial = 0;
    constexpr long day = 86'400;
    X509_set_version(certificate, 2);  // that is, 3
    ASN1_INTEGER_set(X509_get_serialNumber(certificate), ++serial);
    X509_gmtime_adj(X509_getm_notBefore(certificate), -day);
    X509_gmtime_adj(X509_getm_notAfter(certificate), seconds);
    X509_set_pubkey(certificate, key);
    set_name(X509_get_subject_name(certificate), subject);
    set_name(X509_get_issuer_name(certificate), name_);
  }
  static void set_name(X509_NAME* name, std::string const& text) {
    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC,
                               reinterpret_cast<unsigned char const*>(text.c_str()), -1, -1, 0);
  }
  static void add(X509* certificate, int extension, char const* value) {
    std::unique_ptr<X509_EXTENSION, void (*)(X509_EXTENSION*)> const made{
        X509V3_EXT_conf_nid(nullptr, nullptr, extension, value), &X509_EXTENSION_free};
    if (!made) throw std::runtime_error{"OpenSSL refuses an extension"};
    X509_add_ext(certificate, made.get(), -1);
  }
  void sign(X509* certificate) const {
    if (X509_sign(certificate, key_.get(), EVP_sha256()) == 0)
      throw std::runtime_error{"OpenSSL does not sign"};
  }

  template <class Write>
  static std::string written(Write const& write) {
    std::unique_ptr<BIO, void (*)(BIO*)> const memory{BIO_new(BIO_s_mem()), &BIO_free_all};
    write(memory.get());
    char* data = nullptr;
    auto const size = BIO_get_mem_data(memory.get(), &data);
    return {data, static_cast<std::size_t>(size)};
  }
  static std::string text(X509* certificate) {
    return written([&](BIO* to) { PEM_write_bio_X509(to, certificate); });
  }
  static std::string text(EVP_PKEY* key) {
    return written(
        [&](BIO* to) { PEM_write_bio_PrivateKey(to, key, nullptr, nullptr, 0, nullptr, nullptr); });
  }

  std::string name_;
  Key key_{EVP_EC_gen("P-256"), &EVP_PKEY_free};
  X509Ptr certificate_;
};

}  // namespace tests
