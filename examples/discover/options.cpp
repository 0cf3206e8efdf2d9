// SPDX-License-Identifier: MIT

#include "options.hpp"

#include <chrono>
#include <cstdint>
#include <string_view>
#include <utility>

#include <poise/discovery/cares/dns.hpp>
#include <poise/discovery/curl/source_named.hpp>
#include <poise/discovery/json/registration.hpp>
#include <poise/discovery/lines.hpp>
#include <poise/error.hpp>

namespace discover {

namespace {

using namespace poise::discovery;

/// NAME, or NAME@SERVER:PORT.
std::unique_ptr<Source> make_srv(std::string const& rest) {
  auto const at = rest.find('@');
  return from_srv(rest.substr(0, at),
                  {.servers = at == std::string::npos ? "" : rest.substr(at + 1)});
}

}  // namespace

std::unique_ptr<Source> make_source(std::string const& text) {
  constexpr std::string_view srv{"srv:"};
  if (text.starts_with(srv) && text.size() > srv.size()) return make_srv(text.substr(srv.size()));
  try {
    return source_named(text, "discover");
  } catch (poise::ConfigError const& error) {
    throw Wrong{std::string{error.what()} + "; see --help"};
  }
}

Target make_target(Options const& options) {
  if (options.sources.size() != 1) throw Wrong{"register wants one registry; see --help"};
  auto const& text = options.sources[0];
  json::Entry entry{.endpoint = {.address = options.address},
                    .ttl = std::chrono::seconds{options.ttl}};
  if (text.starts_with("consul:")) {
    auto [url, service] = detail::split_url(text.substr(7), "a service's name");
    entry.service = service;
    return {url, std::make_unique<json::ConsulEntry>(std::move(entry),
                                                     detail::from_variable("CONSUL_HTTP_TOKEN"))};
  }
  if (text.starts_with("etcd:")) {
    auto [url, prefix] = detail::split_url(text.substr(5), "a prefix of keys");
    entry.service = prefix;
    return {url, std::make_unique<json::EtcdEntry>(std::move(entry), detail::etcd_user())};
  }
  throw Wrong{"entries can be registered with consul: and etcd:, not with \"" + text + "\""};
}

Options parse(int argc, char** argv) {
  Options options;
  options.registers = argc > 1 && std::string_view{argv[1]} == "register";
  for (int i = options.registers ? 2 : 1; i < argc; ++i) {
    std::string_view const flag{argv[i]};
    auto const value = [&]() -> std::string {
      if (++i >= argc) throw Wrong{std::string{flag} + " wants a value; see --help"};
      return argv[i];
    };
    if (flag == "--help" || flag == "-h") {
      options.help = true;
    } else if (flag == "--watch") {
      options.watch = true;
    } else if (flag == "--guard") {
      auto const guard = value();
      if (guard == "off") options.feed.follower.guard = poise::discovery::GuardOptions::off();
      else if (guard == "obey-empty")
        options.feed.follower.guard.on_empty = poise::discovery::OnEmpty::obey;
      else if (guard != "on")
        throw Wrong{"--guard is on, off or obey-empty, not \"" + guard + "\""};
    } else if (flag == "--merge") {
      auto const merge = value();
      if (merge == "first") options.feed.merge = poise::discovery::Merge::first;
      else if (merge == "tiers") options.feed.merge = poise::discovery::Merge::tiers;
      else if (merge != "all") throw Wrong{"--merge is all, first or tiers, not \"" + merge + "\""};
    } else if (flag == "--snapshot") {
      options.feed.snapshot = value();
    } else if (flag == "--address") {
      options.address = value();
    } else if (flag == "--ttl") {
      auto const text = value();
      auto const ttl = poise::discovery::detail::parse_number(text);
      if (!ttl || *ttl == 0 || *ttl > 86'400)
        throw Wrong{"--ttl is a number of seconds from 1 to 86400, not \"" + text + "\""};
      options.ttl = *ttl;
    } else if (flag.starts_with("-")) {
      throw Wrong{"there is no option " + std::string{flag} + "; see --help"};
    } else {
      options.sources.emplace_back(flag);
    }
  }
  if (!options.help && options.sources.empty()) throw Wrong{"a SOURCE is missing; see --help"};
  return options;
}

char const* const usage = R"(usage:
  discover SOURCE... [--watch] [--guard on|off|obey-empty] [--merge all|first|tiers]
           [--snapshot FILE]
  discover register consul:URL/SERVICE|etcd:URL/PREFIX --address HOST:PORT [--ttl SECONDS]

The first form prints the backends that a source names, as one line of JSON. With --watch it goes
on, and prints a line at each change. Errors go to stderr, with what will happen next. The second
form keeps an entry in a registry until it gets a SIGTERM or SIGINT, and then takes it back.

SOURCE is one of
  list:a:1,b:2               what stands here
  env:NAME                   the same in an environment variable
  file:PATH                  a file or a directory; lines or JSON
  dns:NAME:PORT              the addresses of a name, by the system's resolver
  srv:NAME[@SERVER:PORT]     SRV records, by c-ares
  consul:http://H:P/SERVICE  token in CONSUL_HTTP_TOKEN
  etcd:http://H:P/PREFIX     user and password in ETCD_USER and ETCD_PASSWORD
  k8s:URL/NAMESPACE/SERVICE  EndpointSlices; token in KUBERNETES_TOKEN
  eds:PATH or eds:URL/CLUSTER   Envoy's endpoint discovery as JSON
  http://H:P/PATH            any list, JSON or lines
Several sources are one list: --merge all is the union, first the first that names a backend, tiers
a tier for each.

A line of a file:
  host:port [weight=N] [zone=Z] [tier=N] [id=NAME] [max_in_flight=N] [label.KEY=VALUE ...]

The guard holds back what looks like a fault of the registry: an empty list, or the loss of more
than half. Then "applied" is false, and "held" says what and why. Three answers in ten seconds, or a
minute, confirm a loss; an empty list is never obeyed, unless --guard says so.

Examples:
  discover list:10.0.0.1:80,10.0.0.2:80
  discover file:/etc/backends --watch
      Now edit the file, empty it, remove it: what would a service do?
  discover consul:http://127.0.0.1:8500/web file:/etc/backends --merge first --watch
      Consul, and a file as long as Consul knows nobody.
  discover etcd:http://127.0.0.1:2379/services/web/ --watch --snapshot /var/lib/web.backends
      Start it again while etcd is down.

Status 0: a list was printed. 1: the source did not answer. 2: the command line is wrong.
)";

}  // namespace discover
