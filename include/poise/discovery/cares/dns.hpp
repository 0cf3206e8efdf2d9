// SPDX-License-Identifier: MIT
#pragma once

// DNS by c-ares: without a thread, with TTLs, with SRV records.
//
// Priorities of SRV become tiers from 0; weights stay. A weight of 0 beside others means "hardly
// ever": it becomes 1, and the others are scaled. Addresses of targets are taken from the answer
// if it has them, else asked for. NXDOMAIN is an empty list, good for as long as the zone says;
// SERVFAIL, REFUSED and silence are failures.

#include <ares.h>
#include <poll.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <map>
#include <memory>
#include <new>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <poise/base/check.hpp>
#include <poise/discovery/cares/answer.hpp>
#include <poise/discovery/dns.hpp>
#include <poise/discovery/look.hpp>
#include <poise/discovery/normalize.hpp>
#include <poise/discovery/source.hpp>
#include <poise/error.hpp>
#include <poise/time.hpp>

namespace poise::inline v0_1_0::discovery {

struct CaresOptions {
  std::string servers{};  ///< "10.0.0.53:53,10.0.0.54"; empty: the system's.
  Family family = Family::either;
  Duration timeout = std::chrono::milliseconds{500};  ///< Of the first try; it doubles.
  int tries = 2;  ///< c-ares' own defaults, 5 s and 4, are 75 s of silence.
};

namespace cares {

/// Backends from SRV records and the addresses of their targets.
[[nodiscard]] inline std::vector<Endpoint> to_endpoints(
    std::vector<Service> const& services,
    std::map<std::string, std::vector<std::string>> const& ips) {
  std::set<std::uint16_t> priorities;
  std::map<std::uint16_t, std::pair<bool, bool>> weights;  // some 0, some above
  for (auto const& each : services) {
    priorities.insert(each.priority);
    auto& [zero, above] = weights[each.priority];
    (each.weight == 0 ? zero : above) = true;
  }
  std::vector<Endpoint> result;
  for (auto const& each : services) {
    if (each.target.empty()) continue;  // ".": decidedly not there
    auto const [zero, above] = weights[each.priority];
    auto const found = ips.find(each.target);
    if (found == ips.end()) continue;
    auto const tier = std::distance(priorities.begin(), priorities.find(each.priority));
    for (auto const& ip : found->second) {
      Endpoint endpoint{.address = ip + ":" + std::to_string(each.port)};
      endpoint.id = endpoint.address;
      endpoint.weight = each.weight == 0 ? 1 : each.weight * (zero && above ? 100U : 1U);
      endpoint.tier = static_cast<std::uint32_t>(tier);
      endpoint.labels.push_back({"target", each.target});
      result.push_back(std::move(endpoint));
    }
  }
  return result;
}

}  // namespace cares

namespace detail {

class CaresSource final : public Source {
 public:
  /// With port 0 the name's SRV records are asked for, else its addresses.
  CaresSource(std::string name, std::uint16_t port, CaresOptions options)
      : host_{std::move(name)}, port_{port}, options_{std::move(options)} {
    poise::detail::check_positive("timeout of CaresOptions", options_.timeout);
    if (host_.empty()) poise::detail::reject_option("name of a DNS source", "empty", "use a name");
    open();
  }
  CaresSource(CaresSource const&) = delete;
  CaresSource& operator=(CaresSource const&) = delete;
  ~CaresSource() override { ares_destroy(channel_); }

  [[nodiscard]] std::string name() const override { return (port_ == 0 ? "srv " : "dns ") + host_; }
  void ask(Time) override {
    drop();
    if (port_ == 0) query(host_, ns_t_srv);
    else query_addresses(cares::detail::canonical(host_));
  }
  void drop() override {
    ares_cancel(channel_);  // calls back at once; those answers are not ours any more
    waiting_ = 0;
    answered_ = false;
    services_.clear();
    ips_.clear();
    ttl_.reset();
    negative_.reset();
    failure_.clear();
  }
  [[nodiscard]] std::optional<Look> next(Time now) override {
    now_ = now;
    process();
    if (waiting_ != 0 || !answered_) return std::nullopt;
    answered_ = false;
    return conclude();
  }
  void add_waits(Waits& waits) const override {
    if (waiting_ == 0) return;
    std::array<ares_socket_t, ARES_GETSOCK_MAXNUM> sockets{};
    auto const mask = ares_getsock(channel_, sockets.data(), static_cast<int>(sockets.size()));
    for (unsigned i = 0; i < sockets.size(); ++i) {
      auto const reads = ARES_GETSOCK_READABLE(mask, i) != 0 ? POLLIN : 0;
      auto const writes = ARES_GETSOCK_WRITABLE(mask, i) != 0 ? POLLOUT : 0;
      if ((reads | writes) != 0) waits.add(sockets[i], static_cast<short>(reads | writes));
    }
    timeval longest{.tv_sec = 10, .tv_usec = 0};
    timeval left{};
    auto const* const wait = ares_timeout(channel_, &longest, &left);
    waits.add(now_ + std::chrono::seconds{wait->tv_sec} +
              std::chrono::microseconds{wait->tv_usec + 1000});
  }
  [[nodiscard]] bool busy() const override { return waiting_ != 0 || answered_; }

 private:
  struct Query {
    CaresSource* source;
    std::string name;
    int type;
  };

  void open() {
    static int const initialized = ares_library_init(ARES_LIB_INIT_ALL);
    ares_options settings{};
    settings.timeout =
        static_cast<int>(std::chrono::ceil<std::chrono::milliseconds>(options_.timeout).count());
    settings.tries = options_.tries;
    settings.flags = ARES_FLAG_NOCHECKRESP;  // else SERVFAIL looks like a refused connection
    auto const mask = ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_FLAGS;
    if (initialized != ARES_SUCCESS ||
        ares_init_options(&channel_, &settings, mask) != ARES_SUCCESS)
      throw std::bad_alloc{};
    if (options_.servers.empty()) return;
    if (auto const error = ares_set_servers_ports_csv(channel_, options_.servers.c_str());
        error != ARES_SUCCESS) {
      ares_destroy(channel_);
      poise::detail::reject_option("servers of CaresOptions", options_.servers,
                                   "use addresses with ports: 10.0.0.53:53,10.0.0.54:53");
    }
  }

  void query(std::string const& name, int type) {
    ++waiting_;
    auto* const query = new Query{this, name, type};  // NOLINT: freed by on_answer, always called
    ares_query(channel_, name.c_str(), ns_c_in, type, &CaresSource::on_answer, query);
  }
  void query_addresses(std::string const& name) {
    if (auto const ip = poise::detail::Ip::parse(name)) {
      add_ip(name, *ip);
      answered_ = true;
      return;
    }
    if (options_.family != Family::ipv6) query(name, ns_t_a);
    if (options_.family != Family::ipv4) query(name, ns_t_aaaa);
  }

  static void on_answer(void* data, int status, int, unsigned char* bytes, int size) {
    std::unique_ptr<Query> const query{static_cast<Query*>(data)};
    if (status == ARES_ECANCELLED || status == ARES_EDESTRUCTION) return;
    query->source->take(*query, status,
                        {bytes, static_cast<std::size_t>(bytes == nullptr ? 0 : size)});
  }
  void take(Query const& query, int status, std::span<unsigned char const> bytes) {
    --waiting_;
    answered_ = true;
    auto const answer = bytes.empty() ? std::nullopt : cares::parse_answer(bytes);
    bool const none = status == ARES_ENOTFOUND || status == ARES_ENODATA;
    if (status != ARES_SUCCESS && !none) {
      fail(query, ares_strerror(status));
    } else if (status == ARES_SUCCESS && (!answer || !answer->complete)) {
      fail(query, "the answer was cut off or damaged");
    } else if (answer) {
      if (none) note_ttl(negative_, answer->negative);
      else note_ttl(ttl_, answer->ttl);
      if (query.type == ns_t_srv) take_services(*answer);
      else
        for (auto const& each : answer->addresses)
          if (each.answers) add_ip(query.name, each.ip);  // not the name servers'
    }
  }
  void take_services(cares::DnsAnswer const& answer) {
    services_ = answer.services;
    for (auto const& each : answer.addresses) add_ip(each.name, each.ip);
    std::set<std::string> targets;
    for (auto const& each : services_)
      if (!each.target.empty() && !ips_.contains(each.target)) targets.insert(each.target);
    for (auto const& each : targets) query_addresses(each);
  }
  void fail(Query const& query, char const* why) { failure_ = query.name + ": " + why; }
  static void note_ttl(std::optional<std::uint32_t>& least, std::optional<std::uint32_t> ttl) {
    if (ttl) least = std::min(least.value_or(*ttl), *ttl);
  }
  void add_ip(std::string const& name, poise::detail::Ip const& ip) {
    auto const text = ip.size == 4 ? ip.text() : "[" + ip.text() + "]";
    auto& all = ips_[name];
    if (std::ranges::find(all, text) == all.end()) all.push_back(text);
  }

  /// A target without an address, or an AAAA query that nobody answers, costs that endpoint only.
  Look conclude() {
    Found found{.version = host_};
    if (port_ == 0) {
      for (auto& [name, ips] : ips_) choose_family(ips, options_.family);  // each is a host
      std::erase_if(ips_, [](auto const& each) { return each.second.empty(); });
      found.endpoints = cares::to_endpoints(services_, ips_);
      for (auto const& each : services_)
        if (!each.target.empty() && !ips_.contains(each.target))
          add_problem(found.problems,
                      "target " + poise::detail::in_quotes(each.target) + " has no address");
    } else {
      for (auto const& [name, ips] : ips_) {
        for (auto const& ip : ips) {
          auto address = ip + ":" + std::to_string(port_);
          found.endpoints.push_back({.id = address, .address = address});
        }
      }
      choose_family(found.endpoints, options_.family, &Endpoint::address);
    }
    if (!failure_.empty() && found.endpoints.empty()) return Failed{failure_, {}};
    if (auto const ttl = found.endpoints.empty() && !ttl_ ? negative_ : ttl_)
      found.good_for = std::chrono::seconds{*ttl};
    return found;
  }

  void process() {
    if (waiting_ == 0) return;
    Waits waits;
    add_waits(waits);
    ::poll(waits.descriptors.data(), waits.descriptors.size(), 0);
    for (auto const& each : waits.descriptors) {
      bool const reads = (each.revents & (POLLIN | POLLERR | POLLHUP)) != 0;
      bool const writes = (each.revents & POLLOUT) != 0;
      if (reads || writes)
        ares_process_fd(channel_, reads ? each.fd : ARES_SOCKET_BAD,
                        writes ? each.fd : ARES_SOCKET_BAD);
    }
    ares_process_fd(channel_, ARES_SOCKET_BAD, ARES_SOCKET_BAD);  // timeouts
  }

  std::string host_;
  std::uint16_t port_;
  CaresOptions options_;
  ares_channel channel_ = nullptr;
  Time now_{};
  int waiting_ = 0;  // for so many answers
  bool answered_ = false;
  std::vector<cares::Service> services_{};
  std::map<std::string, std::vector<std::string>> ips_{};  // with brackets, by name
  std::optional<std::uint32_t> ttl_{};
  std::optional<std::uint32_t> negative_{};
  std::string failure_{};
};

}  // namespace detail

/// The addresses of a name, with this port. *Errors* ConfigError.
[[nodiscard]] inline std::unique_ptr<Source> from_cares(std::string host, std::uint16_t port,
                                                        CaresOptions options = {}) {
  if (port == 0) poise::detail::reject_option("port of from_cares", "0", "use 1 to 65535");
  return std::make_unique<detail::CaresSource>(std::move(host), port, std::move(options));
}

/// The services that SRV records name: "_http._tcp.example.com". *Errors* ConfigError.
[[nodiscard]] inline std::unique_ptr<Source> from_srv(std::string name, CaresOptions options = {}) {
  return std::make_unique<detail::CaresSource>(std::move(name), std::uint16_t{0},
                                               std::move(options));
}

}  // namespace poise::inline v0_1_0::discovery
