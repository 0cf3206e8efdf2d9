// SPDX-License-Identifier: MIT
#include "mapper.hpp"

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <poise/balancer.hpp>
#include <poise/compose/any_policy.hpp>
#include <poise/hashing/dialect/envoy.hpp>
#include <poise/hashing/dialect/haproxy.hpp>
#include <poise/hashing/dialect/libketama.hpp>
#include <poise/hashing/dialect/memcached.hpp>
#include <poise/hashing/dialect/nginx.hpp>
#include <poise/hashing/dialect/pingora.hpp>
#include <poise/policy/hash_list.hpp>
#include <poise/policy/hash_ring.hpp>
#include <poise/policy/maglev.hpp>
#include <poise/policy/rendezvous.hpp>

namespace keymap {

namespace {

namespace dialect = poise::dialect;
using Backends = std::vector<poise::Endpoint>;

struct Note {
  bool wanted = false;
  std::vector<double> shares{};
};

/// A policy that records the shares of its plan on request.
template <class P>
struct Noted : P {
  std::shared_ptr<Note> note;

  typename P::Plan plan(poise::Candidates const& candidates, typename P::Plan const* before) const {
    auto plan = P::plan(candidates, before);
    if (note->wanted) note->shares = P::shares(plan, candidates);
    return plan;
  }
};

/// By a balancer of any policy: one of each dialect's type would take long to compile.
class BalancedMapper final : public Mapper {
 public:
  BalancedMapper(poise::AnyPolicy policy, std::shared_ptr<Note> note, Backends const& backends)
      : policy_{std::move(policy)},
        note_{std::move(note)},
        balancer_{backends, policy_, {.clock = {}, .seed = 1}} {}

  void drain(std::string const& id) override { balancer_.drain(id); }
  std::string backend_of(std::string_view key) override {
    auto const lease = balancer_.pick({.route_key = key});
    if (!lease) throw Wrong{"no backend for a key: " + message(lease.error())};
    return lease->id();
  }
  std::vector<double> shares() override {
    note_->wanted = true;
    balancer_.set_policy(policy_);  // makes a plan
    return note_->shares;
  }

 private:
  poise::AnyPolicy policy_;
  std::shared_ptr<Note> note_;
  poise::Balancer<poise::AnyPolicy, void, poise::Runtime<poise::CycleClock>> balancer_;
};

template <class P>
std::unique_ptr<Mapper> map_with(P policy, Backends const& backends) {
  auto note = std::make_shared<Note>();
  poise::AnyPolicy noted{Noted<P>{std::move(policy), note}};
  return std::make_unique<BalancedMapper>(std::move(noted), std::move(note), backends);
}
template <class D>
std::unique_ptr<Mapper> ring(D settings, Backends const& backends) {
  return map_with(poise::HashRing<D>{.dialect = std::move(settings)}, backends);
}
template <class D>
std::unique_ptr<Mapper> list(D settings, Backends const& backends) {
  return map_with(poise::HashList<D>{.dialect = std::move(settings)}, backends);
}

std::string in_quotes(std::string_view text) { return "\"" + std::string{text} + "\""; }

/// The options behind a dialect's name; each must be asked for once.
class Options {
 public:
  explicit Options(std::string const& spec) {
    auto rest = std::string_view{spec};
    name_ = take(rest, ':');
    while (!rest.empty()) {
      auto const option = take(rest, ',');
      auto const equals = option.find('=');
      if (equals == std::string::npos)
        throw Wrong{"--dialect: " + in_quotes(option) + " is no option=value"};
      if (!given_.emplace(option.substr(0, equals), option.substr(equals + 1)).second)
        throw Wrong{"--dialect: the option " + option.substr(0, equals) + " is given twice"};
    }
  }

  [[nodiscard]] std::string const& name() const { return name_; }
  [[nodiscard]] bool has(std::string const& option) const { return given_.contains(option); }

  /// One of several words.
  template <class Value>
  Value word(std::string const& option,
             std::vector<std::pair<std::string_view, Value>> const& words, Value otherwise) {
    auto const given = find(option);
    if (given == given_.end()) return otherwise;
    std::string known;
    for (auto const& [word, value] : words) {
      if (given->second == word) {
        given_.erase(given);
        return value;
      }
      known += (known.empty() ? "" : ", ") + std::string{word};
    }
    throw Wrong{"--dialect: " + option + "=" + given->second + " is not known; there are " + known};
  }
  template <class Number>
  Number number(std::string const& option, Number otherwise) {
    auto const given = find(option);
    if (given == given_.end()) return otherwise;
    auto const& text = given->second;
    Number value{};
    auto const result = std::from_chars(text.data(), text.data() + text.size(), value);
    if (text.empty() || result.ec != std::errc{} || result.ptr != text.data() + text.size())
      throw Wrong{"--dialect: " + option + "=" + text + " is no number that fits"};
    given_.erase(given);
    return value;
  }
  void refuse_others() const {
    if (given_.empty()) return;
    std::string known;
    for (auto const& option : asked_) known += (known.empty() ? "" : ", ") + option;
    throw Wrong{"--dialect: " + name_ + " has no option " + in_quotes(given_.begin()->first) +
                (known.empty() ? "; it has none" : "; it has " + known)};
  }

 private:
  static std::string take(std::string_view& text, char end) {
    auto const at = text.find(end);
    std::string const part{text.substr(0, at)};
    text = at == std::string_view::npos ? std::string_view{} : text.substr(at + 1);
    return part;
  }
  std::map<std::string, std::string>::iterator find(std::string const& option) {
    asked_.push_back(option);
    return given_.find(option);
  }

  std::string name_;
  std::map<std::string, std::string> given_;
  std::vector<std::string> asked_;
};

/// HAProxy's modifier: on by default only where no function is written.
template <class D>
void read_haproxy_function(D& settings, Options& options) {
  using F = dialect::HaproxyFunction;
  if (options.has("function")) settings.avalanche = false;
  settings.function = options.word<F>("function",
                                      {{"sdbm", F::sdbm},
                                       {"djb2", F::djb2},
                                       {"wt6", F::wt6},
                                       {"crc32", F::crc32},
                                       {"none", F::none}},
                                      settings.function);
  settings.avalanche =
      options.word<bool>("avalanche", {{"on", true}, {"off", false}}, settings.avalanche);
}

dialect::Haproxy haproxy(Options& options, bool unfixed) {
  using K = dialect::HaproxyKey;
  dialect::Haproxy settings{.unfixed_3_0 = unfixed};
  read_haproxy_function(settings, options);
  settings.key = options.word<K>("key",
                                 {{"id", K::id},
                                  {"id32", K::id32},
                                  {"addr", K::addr},
                                  {"addr-port", K::addr_port},
                                  {"guid", K::guid}},
                                 settings.key);
  return settings;
}

dialect::MemcachedHash memcached_hash(Options& options, dialect::MemcachedHash otherwise) {
  using H = dialect::MemcachedHash;
  return options.word<H>("hash",
                         {{"one_at_a_time", H::one_at_a_time},
                          {"default", H::one_at_a_time},
                          {"md5", H::md5},
                          {"crc", H::crc32},
                          {"crc32", H::crc32},
                          {"crc32a", H::crc32a},
                          {"fnv1_64", H::fnv1_64},
                          {"fnv1a_64", H::fnv1a_64},
                          {"fnv1_32", H::fnv1_32},
                          {"fnv1a_32", H::fnv1a_32}},
                         otherwise);
}

dialect::GrpcRing grpc(Options& options, bool sorted) {
  dialect::GrpcRing settings{.sorted = sorted};
  settings.min_size = options.number("min", settings.min_size);
  settings.max_size = options.number("max", settings.max_size);
  settings.cap = options.number("cap", settings.cap);
  return settings;
}

using Make = std::unique_ptr<Mapper>(Options&, Backends const&);

/// Reads all options, and refuses what is left, before anything is built.
template <class Settings, class Build>
std::unique_ptr<Mapper> build(Options const& options, Settings settings, Build const& make,
                              Backends const& backends) {
  options.refuse_others();
  return make(std::move(settings), backends);
}

struct Dialect {
  std::string_view name;
  std::string_view about;
  std::function<Make> make;
};

std::vector<Dialect> const& dialects() {
  static std::vector<Dialect> const all{
      {"maglev", "poise's default [max=BACKENDS,slots=PRIME]",
       [](Options& options, Backends const& backends) {
         dialect::NativeTable settings;
         settings.max_backends = options.number("max", settings.max_backends);
         settings.slots = options.number("slots", settings.slots);
         options.refuse_others();
         return map_with(poise::Maglev{.dialect = settings}, backends);
       }},
      {"ring", "poise's own ring [points=N for a weight unit]",
       [](Options& options, Backends const& backends) {
         dialect::Native settings;
         settings.points = options.number("points", settings.points);
         options.refuse_others();
         return ring(settings, backends);
       }},
      {"rendezvous", "no table: the highest random weight wins",
       [](Options& options, Backends const& backends) {
         options.refuse_others();
         return map_with(poise::Rendezvous{}, backends);
       }},
      {"nginx", "nginx, hash KEY consistent",
       [](Options& options, Backends const& backends) {
         options.refuse_others();
         return ring(dialect::Nginx{}, backends);
       }},
      {"nginx-hash", "nginx, hash KEY",
       [](Options& options, Backends const& backends) {
         options.refuse_others();
         return list(dialect::NginxHash{}, backends);
       }},
      {"nginx-ip-hash", "nginx, ip_hash: keys are client addresses",
       [](Options& options, Backends const& backends) {
         options.refuse_others();
         return list(dialect::NginxIpHash{}, backends);
       }},
      {"haproxy",
       "HAProxy, hash-type consistent [function=sdbm|djb2|wt6|crc32|none,\n"
       "                                avalanche=on|off,key=id|id32|addr|addr-port|guid]",
       [](Options& options, Backends const& backends) {
         return build(options, haproxy(options, false), ring<dialect::Haproxy>, backends);
       }},
      {"haproxy-3.0-unfixed", "HAProxy 3.0.0 until the fix of October 2025; same options",
       [](Options& options, Backends const& backends) {
         return build(options, haproxy(options, true), ring<dialect::Haproxy>, backends);
       }},
      {"haproxy-map", "HAProxy, hash-type map-based [function=...,avalanche=on|off]",
       [](Options& options, Backends const& backends) {
         dialect::HaproxyMap settings;
         read_haproxy_function(settings, options);
         return build(options, settings, list<dialect::HaproxyMap>, backends);
       }},
      {"envoy-ring", "Envoy, RING_HASH [hash=xxhash|murmur2,min=N,max=N]",
       [](Options& options, Backends const& backends) {
         using H = dialect::EnvoyHash;
         dialect::EnvoyRing settings;
         settings.function = options.word<H>(
             "hash", {{"xxhash", H::xxhash}, {"murmur2", H::murmur2}}, settings.function);
         settings.min_size = options.number("min", settings.min_size);
         settings.max_size = options.number("max", settings.max_size);
         return build(options, settings, ring<dialect::EnvoyRing>, backends);
       }},
      {"envoy-maglev", "Envoy, MAGLEV [table=PRIME]",
       [](Options& options, Backends const& backends) {
         dialect::EnvoyMaglev settings;
         settings.slots = options.number("table", settings.slots);
         options.refuse_others();
         return map_with(poise::MaglevOf<dialect::EnvoyMaglev>{.dialect = settings}, backends);
       }},
      {"grpc-ring", "gRPC for C++ and Node, ring_hash [min=N,max=N,cap=N]",
       [](Options& options, Backends const& backends) {
         return build(options, grpc(options, false), ring<dialect::GrpcRing>, backends);
       }},
      {"grpc-ring-sorted", "gRPC for Go; same options",
       [](Options& options, Backends const& backends) {
         return build(options, grpc(options, true), ring<dialect::GrpcRing>, backends);
       }},
      {"libketama", "libketama",
       [](Options& options, Backends const& backends) {
         options.refuse_others();
         return ring(dialect::Libketama{}, backends);
       }},
      {"pingora", "pingora-ketama",
       [](Options& options, Backends const& backends) {
         options.refuse_others();
         return ring(dialect::Pingora{}, backends);
       }},
      {"twemproxy",
       "twemproxy [hash=fnv1a_64|fnv1a_32|fnv1_64|fnv1_32|md5|\n"
       "                                crc32|crc32a|one_at_a_time,distribution=ketama|modula]",
       [](Options& options, Backends const& backends) {
         auto const hash = memcached_hash(options, dialect::MemcachedHash::fnv1a_64);
         bool const modula =
             options.word<bool>("distribution", {{"ketama", false}, {"modula", true}}, false);
         options.refuse_others();
         return modula ? list(dialect::TwemproxyModula{.function = hash}, backends)
                       : ring(dialect::Twemproxy{.function = hash}, backends);
       }},
      {"libmemcached-ketama", "libmemcached, BEHAVIOR_KETAMA without weights",
       [](Options& options, Backends const& backends) {
         options.refuse_others();
         return ring(dialect::LibmemcachedKetama{}, backends);
       }},
      {"libmemcached-ketama-weighted", "libmemcached, BEHAVIOR_KETAMA_WEIGHTED",
       [](Options& options, Backends const& backends) {
         options.refuse_others();
         return ring(dialect::LibmemcachedKetamaWeighted{}, backends);
       }},
      {"libmemcached-modula", "libmemcached's default [hash=one_at_a_time|md5|crc|fnv1_64|...]",
       [](Options& options, Backends const& backends) {
         auto const hash = memcached_hash(options, dialect::MemcachedHash::one_at_a_time);
         options.refuse_others();
         return list(dialect::LibmemcachedModula{.function = hash}, backends);
       }},
  };
  return all;
}

}  // namespace

std::unique_ptr<Mapper> make_mapper(std::string const& spec,
                                    std::vector<poise::Endpoint> const& backends) {
  Options options{spec};
  std::string known;
  for (auto const& each : dialects()) {
    if (each.name == options.name()) return each.make(options, backends);
    known += (known.empty() ? "" : ", ") + std::string{each.name};
  }
  throw Wrong{"--dialect: " + in_quotes(options.name()) + " is not known; there are " + known};
}

std::string describe_dialects() {
  std::string text;
  for (auto const& each : dialects()) {
    std::string line{"  "};
    line += each.name;
    line.resize(std::max<std::size_t>(line.size() + 1, 32), ' ');
    text += line.append(each.about) + "\n";
  }
  return text;
}

}  // namespace keymap
