// SPDX-License-Identifier: MIT
// The standard hashes beside the libraries that everybody else takes them from: libxxhash, zlib and
// OpenSSL, and libstdc++'s std::hash for MurmurHash64A. Every length up to 300, and 1 MiB; any
// bytes.

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <xxhash.h>
#include <zlib.h>

#include <array>
#include <bit>
#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include <poise/hash/crc32.hpp>
#include <poise/hash/md5.hpp>
#include <poise/hash/murmur2.hpp>
#include <poise/hash/siphash.hpp>
#include <poise/hash/xxhash.hpp>
#include <poise/random.hpp>

#include "support/catch.hpp"

namespace integration_reference_hash {

namespace hash = poise::hash;

namespace {

std::string bytes(std::size_t length) {
  std::string text(length, '\0');
  std::uint64_t state = length + 1;
  for (auto& letter : text) {
    state += poise::detail::wyrand_step;
    letter = static_cast<char>(poise::detail::wyrand(state));
  }
  return text;
}

/// Is `ours` the same as `theirs` for every length, at every alignment?
template <class Ours, class Theirs>
void compare(Ours const& ours, Theirs const& theirs) {
  for (std::size_t length = 0; length <= 300; ++length) {
    auto const text = bytes(length + 7);
    for (std::size_t shift = 0; shift < 8; ++shift) {
      auto const part = std::string_view{text}.substr(shift).substr(0, length);
      CAPTURE(length, shift);
      REQUIRE(ours(part) == theirs(part));
    }
  }
  auto const large = bytes(1U << 20U);
  REQUIRE(ours(large) == theirs(large));
}

hash::Md5 openssl_md5(std::string_view text) {
  std::array<unsigned char, 16> digest{};
  unsigned int size = 0;
  REQUIRE(EVP_Digest(text.data(), text.size(), digest.data(), &size, EVP_md5(), nullptr) == 1);
  return std::bit_cast<hash::Md5>(digest);  // on a little-endian machine
}

std::uint64_t openssl_siphash(std::string_view text, hash::Secret secret) {
  std::unique_ptr<EVP_MAC, void (*)(EVP_MAC*)> const mac{EVP_MAC_fetch(nullptr, "SIPHASH", nullptr),
                                                         &EVP_MAC_free};
  std::unique_ptr<EVP_MAC_CTX, void (*)(EVP_MAC_CTX*)> const context{EVP_MAC_CTX_new(mac.get()),
                                                                     &EVP_MAC_CTX_free};
  std::size_t size = sizeof(std::uint64_t);
  std::array<OSSL_PARAM, 2> const parameters{
      OSSL_PARAM_construct_size_t(OSSL_MAC_PARAM_SIZE, &size), OSSL_PARAM_construct_end()};
  auto const key = std::bit_cast<std::array<unsigned char, 16>>(secret);
  std::array<unsigned char, 8> tag{};
  REQUIRE(EVP_MAC_init(context.get(), key.data(), key.size(), parameters.data()) == 1);
  REQUIRE(EVP_MAC_update(context.get(), std::bit_cast<unsigned char const*>(text.data()),
                         text.size()) == 1);
  REQUIRE(EVP_MAC_final(context.get(), tag.data(), &size, tag.size()) == 1);
  return std::bit_cast<std::uint64_t>(tag);
}

}  // namespace

TEST_CASE("xxh32 is libxxhash's") {
  compare([](std::string_view text) { return hash::xxh32(text); },
          [](std::string_view text) { return XXH32(text.data(), text.size(), 0); });
  compare([](std::string_view text) { return hash::xxh32(text, 0x12345678); },
          [](std::string_view text) { return XXH32(text.data(), text.size(), 0x12345678); });
}

TEST_CASE("xxh64 is libxxhash's") {
  compare([](std::string_view text) { return hash::xxh64(text); },
          [](std::string_view text) { return XXH64(text.data(), text.size(), 0); });
  constexpr std::uint64_t seed = 0x123456789abcdef0;
  compare([](std::string_view text) { return hash::xxh64(text, seed); },
          [](std::string_view text) { return XXH64(text.data(), text.size(), seed); });
}

TEST_CASE("crc32 is zlib's") {
  compare([](std::string_view text) { return hash::crc32(text); },
          [](std::string_view text) {
            return static_cast<std::uint32_t>(::crc32(0, std::bit_cast<Bytef const*>(text.data()),
                                                      static_cast<uInt>(text.size())));
          });
}

TEST_CASE("md5 is OpenSSL's") { compare(hash::md5, openssl_md5); }

TEST_CASE("siphash is OpenSSL's") {
  constexpr hash::Secret secret{0x0123456789abcdef, 0xfedcba9876543210};
  compare([&](std::string_view text) { return hash::siphash(text, secret); },
          [&](std::string_view text) { return openssl_siphash(text, secret); });
}

#ifdef __GLIBCXX__
TEST_CASE("murmur2 is what libstdc++ hashes strings with") {
  compare([](std::string_view text) { return hash::murmur2_64(text); },
          [](std::string_view text) { return std::hash<std::string_view>{}(text); });
}
#endif

}  // namespace integration_reference_hash
