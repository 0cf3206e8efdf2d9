// SPDX-License-Identifier: MIT

#include "options.hpp"

#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <optional>
#include <string_view>
#include <utility>

#include <poise/base/address.hpp>
#include <poise/discovery/cares/dns.hpp>
#include <poise/discovery/curl/sources.hpp>
#include <poise/discovery/dns.hpp>
#include <poise/discovery/file.hpp>
#include <poise/discovery/json/eds.hpp>
#include <poise/discovery/json/endpoints.hpp>
#include <poise/discovery/json/registration.hpp>
#include <poise/discovery/lines.hpp>
#include <poise/discovery/list.hpp>
#include <poise/error.hpp>

namespace discover {

namespace {

using namespace poise::discovery;

std::function<std::string()> from_variable(char const* name) {
  return [name] {
    auto const* const value = std::getenv(name);
    return std::string{value == nullptr ? "" : value};
  };
}

json::EtcdOptions etcd_user() {
  return {.user = from_variable("ETCD_USER")(), .password = from_variable("ETCD_PASSWORD")};
}

/// "http://host:port/rest" as base and rest.
std::pair<std::string, std::string> split_url(std::string const& url, char const* wanted) {
  auto const host = url.find("://");
  auto const slash = host == std::string::npos ? host : url.find('/', host + 3);
  if (slash == std::string::npos || slash + 1 == url.size())
    throw Wrong{"\"" + url + "\" is no URL followed by " + wanted};
  return {url.substr(0, slash), url.substr(slash + 1)};
}

std::unique_ptr<Source> make_dns(std::string const& rest) {
  auto const address = poise::HostPort::of(rest);
  if (!address) throw Wrong{"dns:" + rest + ": NAME:PORT is wanted, with a port from 1 to 65535"};
  return from_dns(address->host, address->port);
}

/// NAME, or NAME@SERVER:PORT.
std::unique_ptr<Source> make_srv(std::string const& rest) {
  auto const at = rest.find('@');
  return from_srv(rest.substr(0, at),
                  {.servers = at == std::string::npos ? "" : rest.substr(at + 1)});
}

std::unique_ptr<Source> make_kubernetes(std::string const& rest) {
  auto const service = rest.rfind('/');
  auto const name_space = service == std::string::npos ? service : rest.rfind('/', service - 1);
  if (name_space == std::string::npos || name_space == 0)
    throw Wrong{"k8s:" + rest + ": URL/NAMESPACE/SERVICE is wanted"};
  json::KubernetesOptions options{.token = from_variable("KUBERNETES_TOKEN")};
  if (auto const* const version = std::getenv("KUBERNETES_SLICE_VERSION"); version != nullptr)
    options.version = version;
  return from_kubernetes(rest.substr(0, name_space),
                         rest.substr(name_space + 1, service - name_space - 1),
                         rest.substr(service + 1), std::move(options));
}

std::unique_ptr<Source> make_eds(std::string const& rest) {
  if (rest.starts_with("http://") || rest.starts_with("https://")) {
    auto const [base, cluster] = split_url(rest, "a cluster's name");
    return from_eds(base, cluster, "discover");
  }
  return from_file(rest, {.parse = [](std::string_view text) { return json::parse_eds(text); }});
}

}  // namespace

std::unique_ptr<Source> make_source(std::string const& text) {
  auto const colon = text.find(':');
  auto const kind = text.substr(0, colon);
  auto const rest = colon == std::string::npos ? std::string{} : text.substr(colon + 1);
  if (rest.empty()) throw Wrong{"\"" + text + "\" is no source: KIND:WHERE is wanted; see --help"};
  if (kind == "list") return from_list(rest);
  if (kind == "env") return from_environment(rest);
  if (kind == "file") return from_file(rest, {.parse = json::parse_any});
  if (kind == "dns") return make_dns(rest);
  if (kind == "srv") return make_srv(rest);
  if (kind == "k8s") return make_kubernetes(rest);
  if (kind == "eds") return make_eds(rest);
  if (kind == "consul") {
    auto const [base, service] = split_url(rest, "a service's name");
    return from_consul(base, service, {.token = from_variable("CONSUL_HTTP_TOKEN")});
  }
  if (kind == "etcd") {
    auto const [base, prefix] = split_url(rest, "a prefix of keys");
    return from_etcd(base, prefix, etcd_user());
  }
  if (kind == "http" || kind == "https") {
    auto const url = rest.starts_with("//") ? text : rest;
    auto const [base, target] = split_url(url, "a path");
    return from_http_list(base, "/" + target);
  }
  throw Wrong{"there is no kind of source \"" + kind + "\"; see --help"};
}

Target make_target(Options const& options) {
  if (options.sources.size() != 1) throw Wrong{"register wants one registry; see --help"};
  auto const& text = options.sources[0];
  json::Entry entry{.endpoint = {.address = options.address},
                    .ttl = std::chrono::seconds{options.ttl}};
  if (text.starts_with("consul:")) {
    auto [url, service] = split_url(text.substr(7), "a service's name");
    entry.service = service;
    return {url, std::make_unique<json::ConsulEntry>(std::move(entry),
                                                     from_variable("CONSUL_HTTP_TOKEN"))};
  }
  if (text.starts_with("etcd:")) {
    auto [url, prefix] = split_url(text.substr(5), "a prefix of keys");
    entry.service = prefix;
    return {url, std::make_unique<json::EtcdEntry>(std::move(entry), etcd_user())};
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
