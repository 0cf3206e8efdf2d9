// SPDX-License-Identifier: MIT
#pragma once

// The registries that are asked over HTTP, each by one function.
//
//   from_consul("http://127.0.0.1:8500", "web")
//   from_etcd("http://127.0.0.1:2379", "/services/web/")
//   from_kubernetes_pod("default", "web")             // inside a cluster
//   from_eds("http://control-plane:8080", "web", "my-node")
//   from_http_list("https://example.com", "/backends.json")
//
// Each takes several servers, too, and goes to the next one when one fails:
//
//   from_etcd("http://10.0.0.1:2379,http://10.0.0.2:2379", "/services/web/")

#include <cstddef>
#include <cstdlib>
#include <memory>
#include <string>
#include <utility>

#include <poise/base/files.hpp>
#include <poise/discovery/curl/http_source.hpp>
#include <poise/discovery/json/consul.hpp>
#include <poise/discovery/json/eds.hpp>
#include <poise/discovery/json/etcd.hpp>
#include <poise/discovery/json/http_list.hpp>
#include <poise/discovery/json/kubernetes.hpp>
#include <poise/discovery/source.hpp>
#include <poise/error.hpp>

namespace poise::inline v0_1_0::discovery {

[[nodiscard]] inline std::unique_ptr<Source> from_consul(std::string const& url,
                                                         std::string service,
                                                         json::ConsulOptions options = {},
                                                         HttpOptions http = {}) {
  return from_http(url, std::make_unique<json::Consul>(std::move(service), std::move(options)),
                   std::move(http));
}

[[nodiscard]] inline std::unique_ptr<Source> from_etcd(std::string const& url, std::string prefix,
                                                       json::EtcdOptions options = {},
                                                       HttpOptions http = {}) {
  return from_http(url, std::make_unique<json::Etcd>(std::move(prefix), std::move(options)),
                   std::move(http));
}

[[nodiscard]] inline std::unique_ptr<Source> from_kubernetes(std::string const& url,
                                                             std::string name_space,
                                                             std::string service,
                                                             json::KubernetesOptions options = {},
                                                             HttpOptions http = {}) {
  return from_http(url,
                   std::make_unique<json::Kubernetes>(std::move(name_space), std::move(service),
                                                      std::move(options)),
                   std::move(http));
}

/// With the service account of the pod that this runs in. *Errors* ConfigError: not in a pod.
[[nodiscard]] inline std::unique_ptr<Source> from_kubernetes_pod(
    std::string name_space, std::string service, json::KubernetesOptions options = {}) {
  constexpr char const* folder = "/var/run/secrets/kubernetes.io/serviceaccount/";
  auto const* const host = std::getenv("KUBERNETES_SERVICE_HOST");
  auto const* const port = std::getenv("KUBERNETES_SERVICE_PORT");
  if (host == nullptr || port == nullptr)
    throw ConfigError{
        "KUBERNETES_SERVICE_HOST or _PORT is not set: this is no pod of Kubernetes; use "
        "from_kubernetes with a URL"};
  options.token = [file = std::string{folder} + "token"] { return poise::detail::secret_of(file); };
  std::string const name{host};
  auto const authority = name.find(':') == std::string::npos ? name : "[" + name + "]";
  return from_kubernetes("https://" + authority + ":" + port, std::move(name_space),
                         std::move(service), std::move(options),
                         {.ca_file = std::string{folder} + "ca.crt"});
}

[[nodiscard]] inline std::unique_ptr<Source> from_eds(std::string const& url, std::string cluster,
                                                      std::string node, HttpOptions http = {}) {
  return from_http(url, std::make_unique<json::Eds>(std::move(cluster), std::move(node)),
                   std::move(http));
}

/// `target` is path and query: "/backends.json".
[[nodiscard]] inline std::unique_ptr<Source> from_http_list(
    std::string const& url, std::string target, json::HttpList::Parse parse = json::parse_any,
    HttpOptions http = {}) {
  return from_http(url, std::make_unique<json::HttpList>(std::move(target), std::move(parse)),
                   std::move(http));
}

}  // namespace poise::inline v0_1_0::discovery
