// SPDX-License-Identifier: MIT
// The standard hashes against published values. tests/integration/reference/ has them beside other
// libraries.

#include <cstdint>
#include <string>
#include <string_view>

#include <poise/hash/avalanche.hpp>
#include <poise/hash/crc32.hpp>
#include <poise/hash/djb2.hpp>
#include <poise/hash/fnv.hpp>
#include <poise/hash/md5.hpp>
#include <poise/hash/murmur2.hpp>
#include <poise/hash/one_at_a_time.hpp>
#include <poise/hash/sdbm.hpp>
#include <poise/hash/siphash.hpp>
#include <poise/hash/wt6.hpp>
#include <poise/hash/xxhash.hpp>

#include "support/catch.hpp"

namespace unit_hash_hash {

using namespace std::string_view_literals;
namespace hash = poise::hash;

namespace {

/// The digest as everybody writes it: its bytes in order, in hexadecimal.
std::string hex(hash::Md5 const& digest) {
  std::string text;
  for (auto const word : digest)
    for (unsigned byte = 0; byte < 4; ++byte)
      for (unsigned const half : {4U, 0U})
        text += "0123456789abcdef"[word >> (8 * byte + half) & 15U];
  return text;
}

}  // namespace

TEST_CASE("md5 gives the digests of RFC 1321") {
  CHECK(hex(hash::md5("")) == "d41d8cd98f00b204e9800998ecf8427e");
  CHECK(hex(hash::md5("a")) == "0cc175b9c0f1b6a831c399e269772661");
  CHECK(hex(hash::md5("abc")) == "900150983cd24fb0d6963f7d28e17f72");
  CHECK(hex(hash::md5("message digest")) == "f96b697d7cb7938d525a2f31aaf161d0");
  CHECK(hex(hash::md5("abcdefghijklmnopqrstuvwxyz")) == "c3fcd3d76192e4007dfb496cca67e13b");
  CHECK(hex(hash::md5("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789")) ==
        "d174ab98d277d9f5a5611c2c9f419d9f");
  CHECK(hex(hash::md5("1234567890123456789012345678901234567890"
                      "1234567890123456789012345678901234567890")) ==
        "57edf4a22be3c955ac49da2e2107b67a");
}

TEST_CASE("crc32 gives the check value of its catalogue entry") {
  CHECK(hash::crc32("123456789") == 0xcbf43926);
  CHECK(hash::crc32("") == 0);
}

TEST_CASE("crc32 is the same in one piece or in many") {
  std::string_view const text = "The quick brown fox jumps over the lazy dog";
  CHECK(hash::crc32(text) == 0x414fa339);
  for (std::size_t cut = 0; cut <= text.size(); ++cut)
    CHECK(hash::Crc32{}.add(text.substr(0, cut)).add(text.substr(cut)).value() == 0x414fa339);
}

TEST_CASE("xxh32 and xxh64 give the values of their specification") {
  CHECK(hash::xxh32("") == 0x02cc5d05);
  CHECK(hash::xxh32("abc") == 0x32d153ff);
  CHECK(hash::xxh64("") == 0xef46db3751d8e999);
  CHECK(hash::xxh64("abc") == 0x44bc2cf5ad770999);
}

TEST_CASE("xxh64 and murmur2 give the values of Envoy's tests") {
  CHECK(hash::xxh64("foo") == 3728699739546630719U);
  CHECK(hash::xxh64("bar") == 5234164152756840025U);
  CHECK(hash::xxh64("foo\nbar") == 8917841378505826757U);
  CHECK(hash::xxh64("lyft") == 4400747396090729504U);
  CHECK(hash::xxh64("bar", hash::xxh64("foo")) == 17745830980996999794U);
  CHECK(hash::murmur2_64("foo") == 9631199822919835226U);
  CHECK(hash::murmur2_64("bar") == 11474628671133349555U);
  CHECK(hash::murmur2_64("foo\nbar") == 16306510975912980159U);
  CHECK(hash::murmur2_64("lyft") == 12847078931730529320U);
  CHECK(hash::murmur2_64("") == 6142509188972423790U);
}

TEST_CASE("siphash gives the value of its paper") {
  std::string text;
  for (char letter = 0; letter < 15; ++letter) text += letter;
  CHECK(hash::siphash(text, {0x0706050403020100, 0x0f0e0d0c0b0a0908}) == 0xa129ca6149be45e5);
}

TEST_CASE("fnv gives the published 32 bit values for ASCII") {
  CHECK(hash::fnv1_32("foobar") == 0x31f0b262);
  CHECK(hash::fnv1a_32("foobar") == 0xbf9cf968);
  // The low halves of the published 64 bit ones.
  CHECK(hash::fnv1_64("foobar") == static_cast<std::uint32_t>(0x340d8765a4dda9c2));
  CHECK(hash::fnv1a_64("foobar") == static_cast<std::uint32_t>(0x85944171f73967e8));
}

TEST_CASE("fnv and one at a time take bytes above 127 as negative") {
  CHECK(hash::fnv1a_32("\xff") == (0x811c9dc5U ^ 0xffffffffU) * 0x01000193U);
  CHECK(hash::one_at_a_time("\xff") != hash::one_at_a_time("\x7f"));
}

TEST_CASE("one at a time gives the values its author's page is known by") {
  CHECK(hash::one_at_a_time("a") == 0xca2e9442);
  CHECK(hash::one_at_a_time("The quick brown fox jumps over the lazy dog") == 0x519e91f5);
}

TEST_CASE("sdbm and djb2 follow their recurrences") {
  CHECK(hash::sdbm("") == 0);
  CHECK(hash::sdbm("ab") == 'a' * 65599U + 'b');
  CHECK(hash::djb2("") == 5381);
  CHECK(hash::djb2("ab") == (5381U * 33 + 'a') * 33 + 'b');
  CHECK(hash::djb2("\xff") == 5381U * 33 + 255);
}

TEST_CASE("hashes can be computed while compiling") {
  static_assert(hash::crc32("123456789") == 0xcbf43926);
  static_assert(hash::xxh64("abc") == 0x44bc2cf5ad770999);
  static_assert(hash::md5("abc")[0] == 0x98500190);
  static_assert(hash::avalanche(1) != hash::avalanche(2));
  static_assert(hash::wt6("a") != hash::wt6("b"));
}

}  // namespace unit_hash_hash
