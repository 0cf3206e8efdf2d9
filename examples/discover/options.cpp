// SPDX-License-Identifier: MIT

#include "options.hpp"

#include <chrono>
#include <string_view>
#include <utility>
#include <vector>

#include <poise/base/address.hpp>
#include <poise/discovery/cares/dns.hpp>
#include <poise/discovery/curl/registration_named.hpp>
#include <poise/discovery/curl/source_named.hpp>
#include <poise/error.hpp>

#include "../command_line.hpp"

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

NamedEntry make_entry(Options const& options) {
  if (options.sources.size() != 1) throw Wrong{"register wants one registry; see --help"};
  try {
    return entry_named(options.sources[0], {.endpoint = {.address = options.address},
                                            .ttl = std::chrono::seconds{options.ttl}});
  } catch (poise::ConfigError const& error) {
    throw Wrong{std::string{error.what()} + "; see --help"};
  }
}

namespace {

void set_guard(GuardOptions& guard, std::string const& text) {
  if (text == "off") guard = GuardOptions::off();
  else if (text == "obey-empty") guard.on_empty = OnEmpty::obey;
  else if (text != "on") throw Wrong{"--guard is on, off or obey-empty, not \"" + text + "\""};
}
Merge to_merge(std::string const& text) {
  if (text == "all") return Merge::all;
  if (text == "first") return Merge::first;
  if (text == "tiers") return Merge::tiers;
  throw Wrong{"--merge is all, first or tiers, not \"" + text + "\""};
}

ProxyTarget to_target(std::string const& text) {
  auto const [kind, rest] = poise::detail::split_kind(text);
  auto const mark = rest.rfind('#');
  if ((kind != "nginx" && kind != "haproxy") || mark == std::string::npos || mark == 0 ||
      mark + 1 == rest.size())
    throw Wrong{"--write is nginx:PATH#NAME or haproxy:PATH#NAME, not \"" + text + "\""};
  return {.kind = kind == "nginx" ? ProxyTarget::Kind::nginx : ProxyTarget::Kind::haproxy,
          .path = rest.substr(0, mark),
          .name = rest.substr(mark + 1)};
}
void check(Options const& options, std::string const& policy) {
  if (options.help) return;
  if (options.sources.empty()) throw Wrong{"a SOURCE is missing; see --help"};
  if (!options.write && !(options.run.empty() && policy.empty()))
    throw Wrong{"--run and --policy belong to --write; see --help"};
}

}  // namespace

Options parse(std::vector<std::string> words) {
  Options options;
  options.registers = !words.empty() && words.front() == "register";
  if (options.registers) words.erase(words.begin());
  std::string policy;
  examples::CommandLine line{std::move(words)};
  while (line.next()) {
    auto const& word = line.option();
    if (line.asks_for_help()) options.help = true;
    else if (word == "--watch") options.watch = true;
    else if (word == "--balancer") options.balancer = true;
    else if (word == "--guard") set_guard(options.feed.follower.guard, line.value());
    else if (word == "--merge") options.feed.merge = to_merge(line.value());
    else if (word == "--snapshot") options.feed.snapshot = line.value();
    else if (word == "--write") options.write = to_target(line.value());
    else if (word == "--policy") policy = line.value();
    else if (word == "--run") options.run = line.value();
    else if (word == "--address") options.address = line.value();
    else if (word == "--ttl") options.ttl = static_cast<unsigned>(line.number(1, 86'400));
    else if (line.is_option()) throw line.unknown();
    else options.sources.push_back(word);
  }
  check(options, policy);
  if (options.write && !policy.empty()) options.write->policy = policy;
  return options;
}

char const* const usage = R"(usage:
  discover SOURCE... [--watch] [--guard on|off|obey-empty] [--merge all|first|tiers]
           [--snapshot FILE] [--balancer]
           [--write nginx:PATH#NAME|haproxy:PATH#NAME [--policy NAME] [--run COMMAND]]
  discover register consul:URL/SERVICE|etcd:URL/PREFIX --address HOST:PORT [--ttl SECONDS]

The first form prints the backends that a source names, as one line of JSON. With --watch it goes
on, and prints a line at each change. Errors go to stderr, with what will happen next. With
--balancer the line also has what a balancer makes of the list: which backends joined and left, and
the share of the picks that each one gets by its weight and tier. --write keeps a file of a proxy's,
with one upstream or backend NAME, as the list says, and runs COMMAND when it changed: at most once
a second. --policy is poise's: least_connections, random, p2c; others take turns by weight. The
second form keeps an entry in a registry until it gets a SIGTERM or SIGINT, and then takes it back.

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
  nginx:PATH[#NAME]          an upstream block in a file of nginx's; without NAME the only one
  haproxy:PATH[#NAME]        the same: a backend or listen section of HAProxy's
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
  discover 'list:10.0.0.1:80 weight=3,10.0.0.2:80,10.0.0.9:80 tier=1' --balancer
      Shares of 75 % and 25 %; the backup gets nothing as long as the others are there.
  discover consul:http://127.0.0.1:8500/web file:/etc/backends --merge first --watch
      Consul, and a file as long as Consul knows nobody.
  discover etcd:http://127.0.0.1:2379/services/web/ --watch --snapshot /var/lib/web.backends
      Start it again while etcd is down.
  discover etcd:http://127.0.0.1:2379/services/web/ --watch --run 'nginx -t && nginx -s reload'
           --write nginx:/etc/nginx/conf.d/web.conf#web
      nginx follows etcd. Write "proxy_pass http://web;" in one of its servers.

Status 0: a list was printed. 1: the source did not answer. 2: the command line is wrong.
)";

}  // namespace discover
