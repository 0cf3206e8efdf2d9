// SPDX-License-Identifier: MIT
#pragma once

// Sources by text, for command lines and configurations: "KIND:WHERE".
//
//   list:a:1,b:2               what stands here
//   env:NAME                   the same in an environment variable
//   file:PATH                  a file or a directory; lines or JSON
//   dns:NAME:PORT              the addresses of a name, by the system's resolver
//   consul:http://H:P/SERVICE  token in CONSUL_HTTP_TOKEN
//   etcd:http://H:P/PREFIX     user and password in ETCD_USER and ETCD_PASSWORD
//   k8s:URL/NAMESPACE/SERVICE  EndpointSlices; token in KUBERNETES_TOKEN
//   eds:PATH or eds:URL/CLUSTER   Envoy's endpoint discovery as JSON
//   nginx:PATH[#NAME]          an upstream block in a file of nginx's; without NAME the only one
//   haproxy:PATH[#NAME]        the same: a backend or listen section of HAProxy's
//   http://H:P/PATH            any list, JSON or lines

#include <cstddef>
#include <cstdlib>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <poise/base/address.hpp>
#include <poise/discovery/credentials.hpp>
#include <poise/discovery/curl/sources.hpp>
#include <poise/discovery/dns.hpp>
#include <poise/discovery/file.hpp>
#include <poise/discovery/haproxy.hpp>
#include <poise/discovery/json/eds.hpp>
#include <poise/discovery/json/endpoints.hpp>
#include <poise/discovery/json/etcd.hpp>
#include <poise/discovery/json/kubernetes.hpp>
#include <poise/discovery/list.hpp>
#include <poise/discovery/nginx.hpp>
#include <poise/discovery/proxy_group.hpp>
#include <poise/discovery/source.hpp>
#include <poise/error.hpp>

namespace poise::inline v0_1_0::discovery {

namespace detail {

/// Reads an environment variable each time: a token may be renewed.
[[nodiscard]] inline std::function<std::string()> from_variable(char const* name) {
  return [name] {
    auto const* const value = std::getenv(name);
    return std::string{value == nullptr ? "" : value};
  };
}

/// The function if there is one; else the environment variable.
[[nodiscard]] inline std::function<std::string()> secret_or(std::function<std::string()> given,
                                                            char const* variable) {
  return given ? std::move(given) : from_variable(variable);
}

[[nodiscard]] inline json::EtcdOptions etcd_user(Credentials const& credentials) {
  auto const& user = credentials.user;
  return {.user = user.empty() ? from_variable("ETCD_USER")() : user,
          .password = secret_or(credentials.password, "ETCD_PASSWORD")};
}

/// "http://host:port/rest" as base and rest. *Errors* ConfigError.
[[nodiscard]] inline std::pair<std::string, std::string> split_url(std::string const& url,
                                                                   char const* wanted) {
  auto const host = url.find("://");
  auto const slash = host == std::string::npos ? host : url.find('/', host + 3);
  if (slash == std::string::npos || slash + 1 == url.size())
    throw ConfigError{"\"" + url + "\" is no URL followed by " + wanted};
  return {url.substr(0, slash), url.substr(slash + 1)};
}

[[nodiscard]] inline std::unique_ptr<Source> dns_named(std::string const& rest) {
  auto const address = HostPort::of(rest);
  if (!address)
    throw ConfigError{"dns:" + rest + ": NAME:PORT is wanted, with a port from 1 to 65535"};
  return from_dns(address->host, address->port);
}

[[nodiscard]] inline std::unique_ptr<Source> kubernetes_named(std::string const& rest,
                                                              Credentials const& credentials) {
  auto const service = rest.rfind('/');
  auto const name_space = service == std::string::npos ? service : rest.rfind('/', service - 1);
  if (name_space == std::string::npos || name_space == 0)
    throw ConfigError{"k8s:" + rest + ": URL/NAMESPACE/SERVICE is wanted"};
  json::KubernetesOptions options{.token = secret_or(credentials.token, "KUBERNETES_TOKEN")};
  if (auto const* const version = std::getenv("KUBERNETES_SLICE_VERSION"); version != nullptr)
    options.version = version;
  return from_kubernetes(rest.substr(0, name_space),
                         rest.substr(name_space + 1, service - name_space - 1),
                         rest.substr(service + 1), std::move(options));
}

[[nodiscard]] inline std::unique_ptr<Source> eds_named(std::string const& rest,
                                                       std::string const& node) {
  if (rest.starts_with("http://") || rest.starts_with("https://")) {
    auto const [base, cluster] = split_url(rest, "a cluster's name");
    return from_eds(base, cluster, node);
  }
  return from_file(rest, {.parse = [](std::string_view text) { return json::parse_eds(text); }});
}

/// PATH or PATH#NAME.
[[nodiscard]] inline std::unique_ptr<Source> proxy_named(
    std::string const& rest, std::vector<ProxyGroup> (*parse)(std::string_view)) {
  auto const mark = rest.rfind('#');
  auto name = mark == std::string::npos ? std::string{} : rest.substr(mark + 1);
  return from_file(rest.substr(0, mark),
                   {.parse = [parse, name = std::move(name)](std::string_view text) -> Look {
                     try {
                       return group_named(parse(text), name);
                     } catch (ConfigError const& error) {
                       return Failed{error.what(), {}};
                     }
                   }});
}

}  // namespace detail

/// `node` is what eds: calls this client; `credentials` come before the environment's.
/// *Errors* ConfigError: no such kind, or not what it wants.
[[nodiscard]] inline std::unique_ptr<Source> source_named(std::string const& text,
                                                          std::string const& node = "poise",
                                                          Credentials const& credentials = {}) {
  auto const [kind, rest] = poise::detail::split_kind(text);
  if (rest.empty()) throw ConfigError{"\"" + text + "\" is no source: KIND:WHERE is wanted"};
  if (kind == "list") return from_list(rest);
  if (kind == "env") return from_environment(rest);
  if (kind == "file") return from_file(rest, {.parse = json::parse_any});
  if (kind == "dns") return detail::dns_named(rest);
  if (kind == "k8s") return detail::kubernetes_named(rest, credentials);
  if (kind == "eds") return detail::eds_named(rest, node);
  if (kind == "nginx") return detail::proxy_named(rest, &parse_nginx);
  if (kind == "haproxy") return detail::proxy_named(rest, &parse_haproxy);
  if (kind == "consul") {
    auto const [base, service] = detail::split_url(rest, "a service's name");
    return from_consul(base, service,
                       {.token = detail::secret_or(credentials.token, "CONSUL_HTTP_TOKEN")});
  }
  if (kind == "etcd") {
    auto const [base, prefix] = detail::split_url(rest, "a prefix of keys");
    return from_etcd(base, prefix, detail::etcd_user(credentials));
  }
  if (kind == "http" || kind == "https") {
    auto const url = rest.starts_with("//") ? text : rest;
    auto const [base, target] = detail::split_url(url, "a path");
    return from_http_list(base, "/" + target);
  }
  throw ConfigError{"there is no kind of source \"" + kind +
                    "\"; there are list, env, file, dns, consul, etcd, k8s, eds, nginx, haproxy, "
                    "http and https"};
}

}  // namespace poise::inline v0_1_0::discovery
