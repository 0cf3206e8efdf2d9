// SPDX-License-Identifier: MIT
// The libmemcached dialects beside libmemcached itself, which needs no server to say where a key
// goes: every recorded key, and keys of any bytes.

#include <libmemcached/memcached.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <poise/hashing/dialect/memcached.hpp>
#include <poise/policy/hash_list.hpp>
#include <poise/policy/hash_ring.hpp>
#include <poise/random.hpp>

#include "support/catch.hpp"
#include "support/recording.hpp"

namespace integration_reference_libmemcached {

namespace dialect = poise::dialect;
using dialect::MemcachedHash;

namespace {

struct Server {
  std::string host;
  std::uint16_t port;
  std::uint32_t weight = 1;
};
using Servers = std::vector<Server>;
using Client = std::unique_ptr<memcached_st, void (*)(memcached_st*)>;

std::vector<std::string> keys() {
  auto all = tests::recorded_keys();
  std::uint64_t state = 1;
  for (std::size_t length = 1; length <= 200; ++length) {
    std::string key(length, '\0');
    for (auto& letter : key) {
      state += poise::detail::wyrand_step;
      letter = static_cast<char>(poise::detail::wyrand(state));
    }
    all.push_back(key);
  }
  return all;
}

/// Keys that poise sends elsewhere than the client.
template <class P>
std::size_t misses(Client const& client, Servers const& servers, P policy) {
  tests::Recording recording;
  for (auto const& server : servers) {
    auto const address = server.host + ":" + std::to_string(server.port);
    recording.servers.push_back({.id = address, .address = address, .weight = server.weight});
  }
  auto const all = keys();
  for (auto const& key : all)
    recording.expect.push_back(memcached_generate_hash(client.get(), key.data(), key.size()));
  return tests::misses(recording, std::move(policy), all);
}

Client client_of(Servers const& servers, bool weighted,
                 std::vector<std::pair<memcached_behavior_t, std::uint64_t>> const& behaviors) {
  Client client{memcached_create(nullptr), &memcached_free};
  for (auto const& [behavior, value] : behaviors)
    REQUIRE(memcached_behavior_set(client.get(), behavior, value) == MEMCACHED_SUCCESS);
  for (auto const& server : servers)
    REQUIRE(memcached_server_add_with_weight(client.get(), server.host.c_str(), server.port,
                                             weighted ? server.weight : 1) == MEMCACHED_SUCCESS);
  return client;
}

std::vector<Servers> sets() {
  Servers many;
  for (std::uint16_t i = 0; i < 50; ++i)
    many.push_back(
        {"10.0.0." + std::to_string(i), static_cast<std::uint16_t>(11'200 + i), 1 + i % 5U});
  return {{{"127.0.0.1", 11'211}, {"127.0.0.1", 11'212}, {"127.0.0.1", 11'213}},
          {{"a", 11'211, 1}, {"b", 11'211, 2}, {"c", 11'211, 3}},
          {{"10.0.1.1", 11'211, 600},
           {"10.0.1.2", 11'211, 300},
           {"10.0.1.3", 11'299, 200},
           {"10.0.1.4", 11'211, 350},
           {"10.0.1.5", 80, 1000}},
          many};
}

}  // namespace

TEST_CASE("the libmemcached-modula dialect is libmemcached's default, with every hash") {
  for (auto const& [hash, ours] : {std::pair{MEMCACHED_HASH_DEFAULT, MemcachedHash::one_at_a_time},
                                   std::pair{MEMCACHED_HASH_MD5, MemcachedHash::md5},
                                   std::pair{MEMCACHED_HASH_CRC, MemcachedHash::crc32},
                                   std::pair{MEMCACHED_HASH_FNV1_64, MemcachedHash::fnv1_64},
                                   std::pair{MEMCACHED_HASH_FNV1A_64, MemcachedHash::fnv1a_64},
                                   std::pair{MEMCACHED_HASH_FNV1_32, MemcachedHash::fnv1_32},
                                   std::pair{MEMCACHED_HASH_FNV1A_32, MemcachedHash::fnv1a_32}})
    for (auto const& servers : sets()) {
      CAPTURE(hash, servers.size());
      auto const client = client_of(servers, false, {{MEMCACHED_BEHAVIOR_HASH, hash}});
      CHECK(misses(client, servers,
                   poise::HashList<dialect::LibmemcachedModula>{{.function = ours}}) == 0);
    }
}

TEST_CASE("the libmemcached-ketama dialect is libmemcached's, without weights") {
  for (auto const& servers : sets()) {
    CAPTURE(servers.size());
    auto const client = client_of(servers, false, {{MEMCACHED_BEHAVIOR_KETAMA, 1}});
    CHECK(misses(client, servers, poise::HashRing<dialect::LibmemcachedKetama>{}) == 0);
  }
}

TEST_CASE("the libmemcached-ketama-weighted dialect is libmemcached's") {
  for (auto const& servers : sets()) {
    CAPTURE(servers.size());
    auto const client = client_of(servers, true, {{MEMCACHED_BEHAVIOR_KETAMA_WEIGHTED, 1}});
    CHECK(misses(client, servers, poise::HashRing<dialect::LibmemcachedKetamaWeighted>{}) == 0);
  }
}

}  // namespace integration_reference_libmemcached
